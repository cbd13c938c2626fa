"""How figures look, and how they become files or part of a page."""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlfeatures.errors import ParameterError
from tlfeatures.files import replace_file
from tlfeatures.reports.fonts import use_fallback_fonts

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

# All distinct, as a page finds each in an SVG by its value and puts its own in its place. The
# classes' are after M. Okabe and K. Ito (2008), Color Universal Design, moved until each has a
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
SUFFIXES = (".png", ".svg", ".pdf")

_LONGEST = 26  # characters of a label
_HEX = re.compile("#[0-9a-f]{6}")

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


# ---- figures and files


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
    """Give axes to draw on: new ones in our style, or the given ones in whatever theirs is."""
    import matplotlib

    if ax is None:
        with style():
            yield new_figure(width, height).add_subplot()
    else:
        with matplotlib.rc_context({"text.parse_math": False}):
            yield ax


def save_figure(ax_or_figure: Axes | Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure: PNG (200 dots an inch), SVG or PDF.

    Parameters
    ----------
    ax_or_figure : Axes or Figure
        Its layout is settled by this: what is added later gets no room of its own.
    path : path
        Ends in .png, .svg or .pdf. The same figure gives the same bytes.

    Raises
    ------
    ParameterError
        For another ending, or if there is no such folder.
    OutputError
        If the file can't be written; what was there stays.

    Notes
    -----
    In a PNG or PDF, characters that DejaVu Sans lacks, as Chinese ones, are drawn with an installed
    font that has them. Where there is none, a warning names the characters. An SVG keeps text as
    text, and its viewer chooses the font.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    if kind not in metadata:
        raise ParameterError(f"{path} must end in .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise ParameterError(f"there is no folder {path.parent} to write {path.name} to")
    written = io.BytesIO()
    with style():
        if kind != "svg":
            _choose_fonts(_figure_of(ax_or_figure), path)
        _settled(ax_or_figure).savefig(written, format=kind, dpi=200, metadata=metadata[kind])
    replace_file(path, written.getvalue())


def _choose_fonts(figure: Figure, path: Path) -> None:
    figure.draw_without_rendering()  # the labels of the axes are made by this
    lacking = use_fallback_fonts(figure)
    if lacking:
        logger.warning(
            "%s shows boxes in place of %d characters that no installed font has (%s): install "
            "a font that has them, such as Noto Sans CJK, or write an SVG",
            path,
            len(lacking),
            "".join(lacking[:10]) + ("..." if len(lacking) > 10 else ""),
        )


def _settled(ax_or_figure: Axes | Figure) -> Figure:
    """Lay the figure out for good: each time anew, axes of equal scales would move a little."""
    figure = _figure_of(ax_or_figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _figure_of(ax_or_figure: Axes | Figure) -> Figure:
    figure = ax_or_figure.get_figure(root=True)
    if figure is None:
        raise ParameterError("these axes are on no figure")
    return figure


def to_svg(ax_or_figure: Axes | Figure, salt: str, colors: Mapping[str, str] | None = None) -> str:
    """Give the ``<svg>`` element of a figure, to stand in a page beside others.

    Parameters
    ----------
    ax_or_figure : Axes or Figure
        Its layout is settled, as by `save_figure`.
    salt : str
        Another one for each figure of a page: ids are made with it.
    colors : mapping of str to str, optional
        What takes the place of a colour in styles, never in texts.

    Returns
    -------
    str
        It has a viewBox and no width or height, text as text, no style sheet and no metadata, and
        of ids those that it refers to and those of `plot_map` alone.
    """
    import matplotlib

    written = io.BytesIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": salt}):
        _settled(ax_or_figure).savefig(written, format="svg", dpi=200, metadata={"Date": None})
    return _bare(written.getvalue(), colors or {})


def _bare(document: bytes, colors: Mapping[str, str]) -> str:
    """Take what only a document of its own needs out of an SVG."""
    from xml.etree import ElementTree

    root = ElementTree.fromstring(document)
    used = set(re.findall(rb"[\"(]#([^\")]+)", document))
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        _make_plain(element, {name.decode() for name in used})
        _make_short(element)
        style = element.get("style")
        if style:
            element.set("style", _HEX.sub(lambda m: colors.get(m[0], m[0]), style))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    # What matplotlib's style sheet says, which would hold for the whole page.
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    return ElementTree.tostring(root, encoding="unicode")


def _make_plain(element: Element, used: set[str]) -> None:
    """Drop prefixes of names, ids that nothing refers to, and space between elements."""
    element.tag = _local(element.tag)
    for name in [name for name in element.attrib if name != _local(name)]:
        element.set(_local(name), element.attrib.pop(name))
    name = element.get("id", "")
    if name not in used and not name.startswith("map-"):
        element.attrib.pop("id", None)
    if len(element) and not (element.text or "").strip():
        element.text = None
    if not (element.tail or "").strip():
        element.tail = None


def _make_short(element: Element) -> None:
    """Cut numbers to hundredths of a point, and say once what all points of a group are like."""
    for name in ("d", "x", "y"):
        if name in element.attrib:
            element.set(name, re.sub(r"(\.\d\d)\d+", r"\1", element.attrib[name]))
    styles = {child.get("style") for child in element}
    said = next(iter(styles)) if len(styles) == 1 else None
    if said and {_local(child.tag) for child in element} == {"use"}:
        element.set("style", said)
        for child in element:
            del child.attrib["style"]


def _local(name: str) -> str:
    return name.rpartition("}")[2]
