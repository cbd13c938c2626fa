"""Fallback fonts for the characters of a figure that its own font does not have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Beginnings of the names of fonts with the scripts of many languages, the best first. Other fonts
# are tried after these fonts.
_PREFERRED = (
    *("Noto Sans CJK", "Source Han Sans", "Noto Sans", "PingFang", "Hiragino Sans"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "WenQuanYi", "Nanum", "Arial Unicode MS"),
)

_BOXES = ("LastResort", "Last Resort")  # fonts that have a box for every character


def use_fallback_fonts(figure: Figure) -> list[str]:
    """Let the texts of a figure use other installed fonts for characters that their fonts lack.

    Parameters
    ----------
    figure : Figure
        A figure that was drawn once, so that all its texts exist.

    Returns
    -------
    list of str
        Sorted characters that no installed font has.
    """
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if _missing(text)]
    missing = set().union(*map(_missing, texts))
    families = []
    for family, characters in _installed() if missing else ():
        if missing & characters:
            families.append(family)
            missing -= characters
        if not missing:
            break
    for text in texts if families else ():
        text.set_fontfamily([*text.get_fontfamily(), *families])
    return sorted(missing)


def _missing(text: Text) -> set[str]:
    """Return the characters of a text that none of its fonts has."""
    from matplotlib.font_manager import FontProperties, findfont

    wanted = {character for character in text.get_text() if not character.isspace()}
    if not wanted or max(wanted) < "\x7f":
        return set()
    for family in text.get_fontfamily():
        wanted -= _characters(findfont(FontProperties(family=[family])))
    return wanted


def _installed() -> Iterator[tuple[str, set[str]]]:
    """Yield the family and the characters of each upright font, preferred fonts first."""
    from matplotlib.font_manager import fontManager

    fonts = [
        entry
        for entry in fontManager.ttflist
        if entry.style == "normal" and not entry.name.lstrip(".").startswith(_BOXES)
    ]
    for entry in sorted(fonts, key=lambda entry: (_rank(entry.name), entry.name, entry.fname)):
        with contextlib.suppress(OSError, RuntimeError):  # a damaged font, or one of bitmaps
            yield entry.name, _characters(entry.fname)


def _rank(name: str) -> int:
    places: Iterable[int] = (
        place for place, beginning in enumerate(_PREFERRED) if name.startswith(beginning)
    )
    return min(places, default=len(_PREFERRED))


def _characters(path: str) -> set[str]:
    from matplotlib.font_manager import get_font

    font = get_font(path)
    return set(map(chr, font.get_charmap())) if font.scalable else set()
