"""The style of figures: colours, sizes, fonts and labels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All are distinct, as a page replaces each in an SVG, by its value, with its own colour. Those of
# the classes are after M. Okabe and K. Ito (2008), Color Universal Design, moved until each has a
# contrast of 3:1 or more to the paper, and any two are 20 apart or more in CIELAB, as seen with
# normal vision and with each kind of colour-blindness (G. Machado et al. 2009).
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
WIDTH = 4.6  # inches; text of 9 points can then be read on a phone

_LONGEST = 26  # characters of a label

_STYLE: Any = {
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib's own; an SVG names others after it
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
    "text.parse_math": False,  # labels are data: "$x$" is a name and no formula
    "svg.fonttype": "none",
    "svg.hashsalt": "tlfeatures",
    "pdf.fonttype": 42,
}


def shortened(label: str, longest: int = _LONGEST) -> str:
    """Cut a long label in its middle, and replace characters that no figure can hold."""
    label = re.sub(r"\s", " ", label)
    label = re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", label)
    if len(label) <= longest:
        return label
    end = (longest - 1) // 2
    return f"{label[: longest - 1 - end]}…{label[-end:]}"


def legend_label(label: str) -> str:
    """Shorten a label for a legend, where matplotlib leaves out those that begin with `_`."""
    label = shortened(label)
    return f" {label}" if label.startswith("_") else label


@contextmanager
def style() -> Iterator[None]:
    """Set matplotlib to the style of these figures, and back at the end.

    The user's own settings don't enter, so that a figure is the same everywhere. matplotlib's
    warnings about characters that a font lacks are not shown: `save_figure` names them itself.
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
    """Make an empty figure of this style, in inches; it is not one of pyplot's."""
    from matplotlib.figure import Figure

    with style():
        return Figure(figsize=(width, height), layout="constrained")


@contextmanager
def drawing(ax: Axes | None, width: float, height: float) -> Iterator[Axes]:
    """Return axes to draw on: new ones in our style, or the given ones in whatever theirs is."""
    import matplotlib

    if ax is None:
        with style():
            yield new_figure(width, height).add_subplot()
    else:
        with matplotlib.rc_context({"text.parse_math": False}):
            yield ax
