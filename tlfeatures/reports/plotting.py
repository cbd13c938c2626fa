"""Figures of results. Each function draws one result on one set of axes.

Import these names from this module. Every function takes axes as `ax` and returns them. Without
`ax`, a new figure in the style of this package is created. Given axes keep their size and style.
The functions do not show figures, and do not change global settings of matplotlib. `save_figure`
writes a file.
"""

from tlfeatures.reports.drawing.confusion_matrix import plot_confusion
from tlfeatures.reports.drawing.curves import plot_precision_recall, plot_reliability, plot_roc
from tlfeatures.reports.drawing.figure_files import save_figure
from tlfeatures.reports.drawing.heads import plot_heat_map, plot_ranking, ranking_height
from tlfeatures.reports.drawing.image_map import plot_map
from tlfeatures.reports.drawing.progress_curves import plot_learning_curve, plot_training

__all__ = [
    "plot_confusion",
    "plot_heat_map",
    "plot_learning_curve",
    "plot_map",
    "plot_precision_recall",
    "plot_ranking",
    "plot_reliability",
    "plot_roc",
    "plot_training",
    "ranking_height",
    "save_figure",
]
