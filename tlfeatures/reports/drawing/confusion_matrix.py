"""The figure of a confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlfeatures.names import shortened
from tlfeatures.reports.drawing.cells import (
    COLOR_MAP,
    MOST_CELLS,
    draw_cells,
    draw_scale,
    name_cells,
    room_for,
    write_cells,
)
from tlfeatures.reports.drawing.style import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tlfeatures.metrics.confusion import Confusion


def plot_confusion(confusion: Confusion, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix.

    Parameters
    ----------
    confusion : Confusion
    ax : Axes, optional

    Returns
    -------
    Axes
        The colour of a cell is the share of the true class. With up to 12 classes, cells that are
        not 0 show the number of images and the share. With more classes, there is a colour scale.
    """
    k, rates = len(confusion.classes), confusion.rates
    side, scale = (max(0.52 * k, 1.6), 0) if k <= MOST_CELLS else (5.4, 0.8)
    room = room_for([shortened(name) for name in confusion.classes])
    with drawing(ax, side + 0.6 + room + scale, side + 0.6 + 0.7 * room) as axes:
        mesh = draw_cells(axes, rates, COLOR_MAP, 0, 1)
        if k <= MOST_CELLS:
            texts = [
                [f"{count:,}\n{rate:.0%}".replace("%", " %") if count else ""
                 for count, rate in zip(*row, strict=True)]
                for row in zip(confusion.counts, rates, strict=True)
            ]  # fmt: skip
            write_cells(axes, mesh, rates, texts, 9 if k <= 8 else 8)
        else:
            draw_scale(axes, mesh, "share of the true class")
        axes.set_aspect("equal")
        name_cells(axes, "x", confusion.classes)
        name_cells(axes, "y", confusion.classes)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
    return axes
