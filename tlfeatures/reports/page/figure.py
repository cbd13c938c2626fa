"""A figure of the page: an SVG element in the colours of the page's themes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tlfeatures.reports.drawing import figure_files, style
from tlfeatures.reports.drawing.display import Display

_WIDEST = 1.35  # pixels per point; beyond it, the text would be larger than the page's


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Attributes
    ----------
    name : str
        Name of the file if a reader saves it.
    title, caption : str
    alt : str
        Description for readers who can't see it.
    svg : str
    width : int
        Largest width in pixels.
    """

    name: str
    title: str
    alt: str
    svg: str
    width: int
    caption: str = ""


def draw(name: str, title: str, alt: str, display: Display, caption: str = "") -> Figure:
    """Draw a display, as a figure of the page."""
    themed = {value: f"var(--{color})" for color, value in style.COLORS.items()}
    svg = figure_files.to_svg(display.plot().figure_, name, themed)
    box = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    assert box is not None  # every SVG of matplotlib has it
    return Figure(name, title, alt, svg, round(_WIDEST * float(box[1])), caption)
