"""How good features are, where labels exist: for benchmarks and reports, never for the search."""

from search.evaluate.knn import knn_accuracy

__all__ = ["knn_accuracy"]
