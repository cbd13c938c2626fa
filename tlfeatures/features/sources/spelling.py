"""One name in several spellings: blanks around it, Unicode forms, case, ways to write a number."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction

# Characters without width that are no part of a name's text: soft hyphen, zero-width space and
# joiners, marks of direction, byte order mark.
_WITHOUT_WIDTH = frozenset(
    map(chr, [0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F)])
) | frozenset(map(chr, [*range(0x2060, 0x2065), *range(0x2066, 0x2070), 0xFEFF]))
_ASCII_BLANKS = "".join(map(chr, [*range(33), 127]))
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?(?:e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_SHOWN = 5


def clean(text: str) -> str:
    """Bring a name to the form in which names are compared.

    That is Unicode's composed form (NFC), in which é is one character whoever wrote it, without
    white space, control characters and characters without width at both ends. NumPy drops a NUL at
    the end of a text, so that it must not be part of a name.
    """
    if text.isascii():
        return text.strip(_ASCII_BLANKS)
    text = unicodedata.normalize("NFC", text)
    start, end = 0, len(text)
    while start < end and _is_blank(text[start]):
        start += 1
    while start < end and _is_blank(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_blank(character: str) -> bool:
    return (
        character.isspace()
        or character in _WITHOUT_WIDTH
        or unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc")
    )


def alike_names(kinds: str, counts: Mapping[str, int]) -> list[str]:
    """Say which names differ by case, Unicode form, blanks or the writing of a number alone.

    Parameters
    ----------
    kinds : str
        What they name: "classes", "groups".
    counts : mapping of name to number of images

    Returns
    -------
    list of str
        A sentence for each set of names that look alike; at most a few, the last one counts the
        others.
    """
    found = [_question(kinds, names, counts) for names in _sets_of_alike(counts)]
    if len(found) > _SHOWN:
        rest = len(found) - _SHOWN
        found[_SHOWN:] = [f"{rest} more sets of {kinds} look alike in the same way"]
    return found


def _sets_of_alike(names: Mapping[str, int]) -> Iterator[list[str]]:
    by_look: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        by_look[_look(name)].append(name)
    return (alike for alike in by_look.values() if len(alike) > 1)


def _question(kinds: str, names: list[str], counts: Mapping[str, int]) -> str:
    ordered = sorted(names, key=lambda name: (-counts[name], name))
    named = [f"{name!r} ({counts[name]:,})" for name in ordered]
    listed = f"{', '.join(named[:-1])} and {named[-1]}"
    return f"the {kinds} {listed} differ {_difference(ordered)}; is that intended?"


def _difference(names: list[str]) -> str:
    if len({name.lower() for name in names}) == 1:
        return "by case alone"
    if all(_NUMBER.fullmatch(name) for name in names):
        return "in how a number is written alone"
    if len({_look(name, case=True) for name in names}) == 1:
        return "by blanks or Unicode form alone"
    return "by case, blanks or Unicode form alone"


def _look(name: str, case: bool = False) -> str:
    """Give what a reader sees of a name; equal where two names are easily taken for each other."""
    text = unicodedata.normalize("NFKC", name)
    text = "".join(character for character in text if character not in _WITHOUT_WIDTH)
    text = " ".join(text.split())
    if _NUMBER.fullmatch(text):  # 1, 1.0, 1,0 and 1e0 are one number
        return str(Fraction(text.replace(",", ".")))
    return text if case else unicodedata.normalize("NFC", text.casefold())
