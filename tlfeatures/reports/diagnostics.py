"""Diagnostics as arrays: mistakes, confusion matrix, curves, reliability, and a map of the images.

Import these names from this module. The displays, such as `tlfeatures.ConfusionDisplay`, draw the
results.
"""

from tlfeatures.metrics.confusion import Confusion, confusion
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.metrics.reliability import Reliability, reliability
from tlfeatures.reports.embedding_map import METHODS, EmbeddingMap, embedding_map
from tlfeatures.reports.threshold_curves import Curve, Curves, precision_recall, roc

__all__ = [
    "METHODS",
    "Confusion",
    "Curve",
    "Curves",
    "EmbeddingMap",
    "OutOfFold",
    "Reliability",
    "confusion",
    "embedding_map",
    "precision_recall",
    "reliability",
    "roc",
]
