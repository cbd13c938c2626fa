"""Tables of coloured cells with texts, for heat maps and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlfeatures.names import shortened
from tlfeatures.reports.drawing.style import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

Floats = NDArray[np.float64]

# Colours of text on a coloured cell. A page replaces colours of `COLORS`, but not the colours of
# cells, so the text on cells must not have a colour of `COLORS`.
ON_DARK, ON_LIGHT = "#fefefe", "#010101"
COLOR_MAP = "cividis"  # J. Nuñez, C. Anderton and R. Renslow (2018), PLOS ONE 13(7)

MOST_CELLS = 12  # with more cells along an axis, a cell is too small for its numbers
MOST_TICKS = 40  # maximum number of labels of an axis


def draw_cells(
    axes: Axes, values: Floats, color_map: str, low: float | None = None, high: float | None = None
) -> QuadMesh:
    """Draw a table of colours, with the first row at the top. NaN is drawn without a colour."""
    few = max(values.shape) <= MOST_TICKS
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=color_map, vmin=low, vmax=high,
        edgecolors=COLORS["paper"] if few else "none", linewidth=float(few),
        rasterized=not few,  # otherwise an SVG needs 200 bytes for each cell
    )  # fmt: skip
    axes.set_ylim(len(values), 0)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return mesh


def write_cells(
    axes: Axes, mesh: QuadMesh, values: Floats, texts: Sequence[Sequence[str]], size: int
) -> None:
    """Write a text into each cell, in a colour that is readable on the cell."""
    for (row, column), value in np.ndenumerate(values):
        if texts[row][column]:
            blank = np.isnan(value)
            color = COLORS["ink"] if blank else _readable_on(mesh.to_rgba(np.array([value]))[0])
            axes.text(
                column + 0.5, row + 0.5, texts[row][column], ha="center", va="center",
                fontsize=size, color=color,
            )  # fmt: skip


def _readable_on(color: Sequence[float]) -> str:
    """Return the text colour with the larger contrast, by the relative luminance of WCAG 2.2."""
    levels = np.asarray(color[:3], float)
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return ON_LIGHT if (luminance + 0.05) ** 2 > 1.05 * 0.05 else ON_DARK


def name_cells(axes: Axes, which: str, names: Sequence[str]) -> None:
    """Label the cells along an axis. If there are many, only every second or third cell."""
    step = -(-len(names) // MOST_TICKS)
    places = np.arange(0, len(names), step) + 0.5
    shown = [shortened(name) for name in names[::step]]
    if which == "y":
        axes.set_yticks(places, shown)
    elif max(map(len, shown)) <= 5 and len(shown) <= MOST_CELLS:
        axes.set_xticks(places, shown)
    elif len(shown) <= MOST_CELLS * 2:
        axes.set_xticks(places, shown, rotation=40, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places, shown, rotation=90)


def room_for(names: Sequence[str]) -> float:
    """Return the width of the longest label, in inches."""
    return 0.075 * max(len(name) for name in names)


def draw_scale(axes: Axes, mesh: QuadMesh, words: str) -> None:
    """Draw the scale of colours next to the cells."""
    figure = axes.get_figure()
    assert figure is not None
    scale = figure.colorbar(mesh, ax=axes, shrink=0.6, label=words)
    scale.outline.set_visible(False)
    scale.ax.grid(visible=False)
