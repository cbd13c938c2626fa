"""The figure of an embedding map: images as points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.reports.drawing.style import CLASS_COLORS, COLORS, WIDTH, drawing, legend_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tlfeatures.reports.embedding_map import EmbeddingMap

Floats = NDArray[np.float64]

_MARKERS = ["o", "^", "s", "D", "v", "P", "X", "p"]
_NAMED, _LEGEND = 20, 2  # maximum number of classes in a legend, and its number of columns


def plot_map(
    map: EmbeddingMap,  # noqa: A002
    labels: ArrayLike,
    ax: Axes | None = None,
    *,
    wrong: ArrayLike | None = None,
) -> Axes:
    """Draw images as points. Each class has its own colour and marker.

    Parameters
    ----------
    map : EmbeddingMap
        Map of n images.
    labels : array-like of shape (n,), str
        Class of each image.
    ax : Axes, optional
    wrong : array-like of shape (n,), bool, optional
        Images that are marked with a ring.

    Returns
    -------
    Axes
        In an SVG, the group with the id ``map-k`` has the points of the k-th class (of the sorted
        classes), in the order of the rows.

    Raises
    ------
    ParameterError
        If `labels` or `wrong` has another length.
    """
    labels = np.asarray(labels)
    ringed = np.zeros(len(labels), bool) if wrong is None else np.asarray(wrong, bool)
    for name, array in (("labels", labels), ("wrong", ringed)):
        if array.shape != (len(map.points),):
            raise ParameterError(
                f"{name} must have shape ({len(map.points)},), one per image, got {array.shape}"
            )
    classes = np.unique(labels).tolist()
    with drawing(ax, WIDTH, 4.3 + 0.17 * _legend_rows(len(classes))) as axes:
        for place, label in enumerate(classes):
            named = legend_label(str(label)) if place < _NAMED else "_"
            _draw_class(axes, map.points[labels == label], place, named, _dot(map))
        if ringed.any():
            x, y = map.points[ringed].T
            axes.scatter(x, y, s=3.2 * _dot(map), facecolors="none", edgecolors=COLORS["ink"],
                         linewidths=0.7, alpha=0.7, zorder=4, label="wrong")  # fmt: skip
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xticks=[], yticks=[])
        _name_axes(axes, map)
        title = f"{_NAMED} of {len(classes):,} classes" if len(classes) > _NAMED else None
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.05), title=title, alignment="left",
                    ncols=_LEGEND, borderaxespad=0, handletextpad=0.1, columnspacing=1)  # fmt: skip
    return axes


def _legend_rows(classes: int) -> int:
    return min(classes, _NAMED) // _LEGEND + 1 + (classes > _NAMED)


def _dot(drawn: EmbeddingMap) -> float:
    return 20 if len(drawn.points) < 2000 else 8


def _draw_class(axes: Axes, points: Floats, place: int, label: str, size: float) -> None:
    color = CLASS_COLORS[place % len(CLASS_COLORS)]
    # The markers are shifted after each round of colours, so that 64 classes look different.
    marker = _MARKERS[(place + place // len(CLASS_COLORS)) % len(_MARKERS)]
    x, y = points.T
    dots = axes.scatter(x, y, s=size, c=color, marker=marker, alpha=0.75, linewidths=0, zorder=3,
                        label=label)  # fmt: skip
    dots.set_gid(f"map-{place}")


def _name_axes(axes: Axes, drawn: EmbeddingMap) -> None:
    if drawn.explained is None:
        axes.set_xlabel("t-SNE: neighbours are alike; distances between groups mean nothing")
        return
    first, second = drawn.explained
    axes.set_xlabel(f"first principal axis, {first:.1%} of the variance".replace("%", " %"))
    axes.set_ylabel(f"second, {second:.1%}".replace("%", " %"))
