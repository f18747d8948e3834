"""How good features are, where labels exist: for benchmarks and reports, never for the search."""

from search.evaluate.classifiers import knn_accuracy, linear_accuracy
from search.evaluate.features import Preprocessing, embed, recalibrate_on
from search.evaluate.labelled import Labelled, read_labelled

__all__ = ["Labelled", "Preprocessing", "embed", "knn_accuracy", "linear_accuracy", "read_labelled", "recalibrate_on"]
