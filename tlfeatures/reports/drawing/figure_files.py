"""Figures as PNG, SVG and PDF files, and as SVG elements of a page."""

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

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".svg", ".pdf")

_HEX = re.compile("#[0-9a-f]{6}")


def save_figure(ax_or_figure: Axes | Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure: PNG (200 dots an inch), SVG or PDF.

    Parameters
    ----------
    ax_or_figure : Axes or Figure
        Its layout is fixed by this call: artists that are added later get no room.
    path : path
        File that ends in .png, .svg or .pdf. The same figure gives the same bytes.

    Raises
    ------
    ParameterError
        If the ending is another, or the folder does not exist.
    OutputError
        If the file can't be written; an existing one stays.

    Notes
    -----
    In a PNG or PDF, characters that DejaVu Sans lacks, such as Chinese ones, are drawn with an
    installed font that has them. If there is none, a warning names the characters. An SVG keeps
    text as text, and its viewer chooses the font.
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
    figure.draw_without_rendering()  # this creates the labels of the axes
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
    """Fix the layout: if it were computed again, axes of equal scales would move a little."""
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
    """Return the ``<svg>`` element of a figure, for a page with several figures.

    Parameters
    ----------
    ax_or_figure : Axes or Figure
        Its layout is fixed, as by `save_figure`.
    salt : str
        A different text for each figure of a page; ids are derived from it.
    colors : mapping of str to str, optional
        Replacements of colours in styles, never in texts.

    Returns
    -------
    str
        It has a viewBox and no width or height, text as text, no style sheet and no metadata. Its
        only ids are those that it refers to, and those of `plot_map`.
    """
    import matplotlib

    written = io.BytesIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": salt}):
        _settled(ax_or_figure).savefig(written, format="svg", dpi=200, metadata={"Date": None})
    return _bare(written.getvalue(), colors or {})


def _bare(document: bytes, colors: Mapping[str, str]) -> str:
    """Remove from an SVG what only a separate document needs."""
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
    # The rules of matplotlib's style sheet, which would apply to the whole page.
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
    """Cut numbers to hundredths of a point, and state the common style of a group once."""
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
