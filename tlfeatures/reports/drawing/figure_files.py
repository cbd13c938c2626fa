"""Writing figures as PNG, SVG and PDF files, and as SVG elements of a page."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tlfeatures.errors import ParameterError
from tlfeatures.files import replace_file
from tlfeatures.reports.drawing.fonts import use_fallback_fonts
from tlfeatures.reports.drawing.style import style

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".svg", ".pdf")
_SCREEN = 100  # pixels of a page for an inch; text of 9 points is as large as a notebook's

_HEX = re.compile("#[0-9a-f]{6}")


def save_figure(ax_or_figure: Axes | Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG (200 dots per inch), SVG or PDF.

    Parameters
    ----------
    ax_or_figure : Axes or Figure
        The figure. This call fixes its layout, so the layout has no space for later artists.
    path : path
        File whose name ends in .png, .svg or .pdf. The same figure gives the same bytes.

    Raises
    ------
    ParameterError
        If the name has another ending, or the folder does not exist.
    OutputError
        If the file can't be written. An existing file is kept.

    Notes
    -----
    In a PNG or PDF, characters that DejaVu Sans does not have, such as Chinese ones, are drawn with
    another installed font. If no font has them, a warning lists the characters. In an SVG, text
    stays text, and the viewer chooses the font.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    if kind not in metadata:
        raise ParameterError(f"path is {str(path)!r}; expected a name ending in .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise ParameterError(f"{path} is in a folder that does not exist; create {path.parent}")
    written = io.BytesIO()
    with style():
        if kind != "svg":
            _choose_fonts(figure_of(ax_or_figure), path)
        figure = _settled(ax_or_figure)
        figure.savefig(
            written, format=kind, dpi=200, metadata=metadata[kind], bbox_inches=_whole(figure)
        )
    replace_file(path, written.getvalue())


def to_png(figure: Figure) -> tuple[bytes, dict[str, int]]:
    """Return a figure as PNG for a screen of high resolution, with its size in pixels of a page.

    The layout is not fixed, so the figure can still be changed.
    """
    written = io.BytesIO()
    with style():
        _choose_fonts(figure, "the figure")
        figure.savefig(written, format="png", dpi=2 * _SCREEN, bbox_inches=_whole(figure))
        width, height = _whole(figure).size * _SCREEN
    return written.getvalue(), {"width": round(width), "height": round(height)}


def _whole(figure: Figure) -> Bbox:
    """Return the box of a figure with all that is drawn; a title may be wider than its figure."""
    from matplotlib.transforms import Bbox

    return Bbox.union([figure.bbox_inches, figure.get_tightbbox()])


def _choose_fonts(figure: Figure, path: Path | str) -> None:
    figure.draw_without_rendering()  # this creates the labels of the axes
    lacking = use_fallback_fonts(figure)
    if lacking:
        logger.warning(
            "%s has boxes instead of %d characters, because no installed font has them (%s); "
            "install a font such as Noto Sans CJK, or write an SVG",
            path,
            len(lacking),
            "".join(lacking[:10]) + ("..." if len(lacking) > 10 else ""),
        )


def _settled(ax_or_figure: Axes | Figure) -> Figure:
    """Fix the layout of a figure. If it were computed again, axes could move a little."""
    figure = figure_of(ax_or_figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def figure_of(ax_or_figure: Axes | Figure) -> Figure:
    """Return the figure that axes belong to, also of axes in a subfigure."""
    figure = ax_or_figure.get_figure(root=True)
    if figure is None:
        raise ParameterError("these axes do not belong to a figure; expected axes of a figure")
    return figure


def to_svg(ax_or_figure: Axes | Figure, salt: str, colors: Mapping[str, str] | None = None) -> str:
    """Return the ``<svg>`` element of a figure, for a page with several figures.

    Parameters
    ----------
    ax_or_figure : Axes or Figure
        The figure. This call fixes its layout, as `save_figure` does.
    salt : str
        A text from which ids are computed. It must be different for each figure of a page.
    colors : mapping of str to str, optional
        Colours to replace in styles. Texts are not changed.

    Returns
    -------
    str
        An element with a viewBox, but without width, height, style sheet and metadata. Text stays
        text. There are no ids except those that the element refers to, and those of
        `EmbeddingMapDisplay`.
    """
    import matplotlib

    written = io.BytesIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": salt}):
        _settled(ax_or_figure).savefig(written, format="svg", dpi=200, metadata={"Date": None})
    return _bare(written.getvalue(), colors or {})


def _bare(document: bytes, colors: Mapping[str, str]) -> str:
    """Remove the parts of an SVG that only a separate document needs."""
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
    # These are the rules of matplotlib's style sheet. A style sheet would apply to the whole page.
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    return ElementTree.tostring(root, encoding="unicode")


def _make_plain(element: Element, used: set[str]) -> None:
    """Remove prefixes of names, unused ids, and spaces between elements."""
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
    """Cut numbers to hundredths of a point, and write the common style of a group only once."""
    for name in ("d", "x", "y"):
        if name in element.attrib:
            element.set(name, re.sub(r"(\.\d\d)\d+", r"\1", element.attrib[name]))
    styles = {child.get("style") for child in element}
    common = next(iter(styles)) if len(styles) == 1 else None
    if common and {_local(child.tag) for child in element} == {"use"}:
        element.set("style", common)
        for child in element:
            del child.attrib["style"]


def _local(name: str) -> str:
    return name.rpartition("}")[2]
