"""The style of figures: colours, sizes, fonts and labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tlfeatures.names import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All colours are different, because a page replaces them in an SVG by their values. The colours of
# the classes are those of M. Okabe and K. Ito (2008), Color Universal Design, with two changes: the
# contrast to the paper is 3:1 or more, and any two colours have a distance of 20 or more in CIELAB,
# for normal vision and for each type of colour blindness (G. Machado et al. 2009).
COLORS: dict[str, str] = {
    "ink": "#1f2328",
    "muted": "#656d76",
    "grid": "#e3e6ea",
    "paper": "#ffffff",
    "accent": "#0a5ca8",
    "c0": "#0e5795",
    "c1": "#d08203",
    "c2": "#0ba85d",
    "c3": "#5c2c4e",
    "c4": "#1c7ff8",
    "c5": "#8e5108",
    "c6": "#877c81",
    "c7": "#3e3e1d",
}
CLASS_COLORS = [COLORS[f"c{place}"] for place in range(8)]
WIDTH = 4.6  # inches; with this width, text of 9 points is readable on a phone

_STYLE: Any = {
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],  # part of matplotlib; an SVG adds the general family
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "legend.frameon": False,
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["ink"],
    "axes.titlecolor": COLORS["ink"],
    "axes.edgecolor": COLORS["muted"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLORS["grid"],
    "grid.linewidth": 0.6,
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
    "xtick.labelcolor": COLORS["ink"],
    "ytick.labelcolor": COLORS["ink"],
    "figure.facecolor": COLORS["paper"],
    "axes.facecolor": COLORS["paper"],
    "savefig.facecolor": COLORS["paper"],
    "axes.formatter.useoffset": False,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "text.parse_math": False,  # labels are data: "$x$" is a name and not a formula
    "svg.fonttype": "none",
    "svg.hashsalt": "tlfeatures",
    "pdf.fonttype": 42,
}


def legend_label(label: str, longest: int = 26) -> str:
    """Shorten a label for a legend. matplotlib would leave out labels that begin with `_`."""
    label = shortened(label, longest)
    return f" {label}" if label.startswith("_") else label


@contextmanager
def style() -> Iterator[None]:
    """Use the style of these figures in a context, and restore the settings at its end.

    The user's own settings are not used, so that a figure is the same everywhere. matplotlib's
    warnings about missing characters are not shown, because `save_figure` logs its own warning.
    """
    import matplotlib

    with matplotlib.rc_context(), _glyphs_may_lack():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@contextmanager
def _glyphs_may_lack() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure in this style, with a size in inches. pyplot does not manage it."""
    from matplotlib.figure import Figure

    with style():
        return Figure(figsize=(width, height), layout="constrained")


@contextmanager
def drawing(ax: Axes | None, width: float, height: float) -> Iterator[Axes]:
    """Yield axes to draw on: new axes in this style, or the given axes, which keep their style."""
    import matplotlib

    if ax is None:
        with style():
            yield new_figure(width, height).add_subplot()
    else:
        with matplotlib.rc_context({"text.parse_math": False}):
            yield ax
