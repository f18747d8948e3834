"""How good features are, where labels exist: for benchmarks and reports, never for the search."""

from search.evaluate.features import Preprocessing, embed, recalibrate_on
from search.evaluate.knn import knn_accuracy
from search.evaluate.labelled import Labelled, read_labelled
from search.evaluate.linear import linear_accuracy

__all__ = ["Labelled", "Preprocessing", "embed", "knn_accuracy", "linear_accuracy", "read_labelled", "recalibrate_on"]
