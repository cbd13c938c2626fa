"""Compare names that are written in several ways: blanks, Unicode forms, case, numbers."""

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
_MAX_SENTENCES = 5


def normalize_name(text: str) -> str:
    """Return a name in the form in which names are compared.

    This is Unicode's composed form (NFC), in which é is one character whoever wrote it, without
    white space, control characters and characters without width at both ends. NumPy drops a NUL at
    the end of a text, so that it must not be part of a name.
    """
    if text.isascii():
        return text.strip(_ASCII_BLANKS)
    text = unicodedata.normalize("NFC", text)
    return text.strip("".join(filter(_is_blank, text)))


def _is_blank(character: str) -> bool:
    return (
        character.isspace()
        or character in _WITHOUT_WIDTH
        or unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc")
    )


def describe_similar_names(kinds: str, counts: Mapping[str, int]) -> list[str]:
    """Write which names differ only by case, Unicode form, blanks or how a number is written.

    Parameters
    ----------
    kinds : str
        What the names are of, for the message: "classes", "groups".
    counts : mapping of str to int
        Number of images by name.

    Returns
    -------
    list of str
        A sentence for each set of names that look alike, at most six; the last one then counts the
        others.
    """
    sentences = [_question(kinds, names, counts) for names in _similar_names(counts)]
    if len(sentences) > _MAX_SENTENCES:
        others = len(sentences) - _MAX_SENTENCES
        sentences[_MAX_SENTENCES:] = [f"{others} more sets of {kinds} look alike in the same way"]
    return sentences


def _similar_names(names: Mapping[str, int]) -> Iterator[list[str]]:
    by_appearance: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        by_appearance[_appearance(name)].append(name)
    return (similar for similar in by_appearance.values() if len(similar) > 1)


def _question(kinds: str, names: list[str], counts: Mapping[str, int]) -> str:
    ordered = sorted(names, key=lambda name: (-counts[name], name))
    with_counts = [f"{name!r} ({counts[name]:,})" for name in ordered]
    listed = f"{', '.join(with_counts[:-1])} and {with_counts[-1]}"
    return f"the {kinds} {listed} differ {_difference(ordered)}; is that intended?"


def _difference(names: list[str]) -> str:
    if len({name.lower() for name in names}) == 1:
        return "by case alone"
    if all(_NUMBER.fullmatch(name) for name in names):
        return "in how a number is written alone"
    if len({_appearance(name, case=True) for name in names}) == 1:
        return "by blanks or Unicode form alone"
    return "by case, blanks or Unicode form alone"


def _appearance(name: str, case: bool = False) -> str:
    """Return what a reader sees of a name: it is equal for names that are easily confused."""
    text = unicodedata.normalize("NFKC", name)
    text = "".join(character for character in text if character not in _WITHOUT_WIDTH)
    text = " ".join(text.split())
    if _NUMBER.fullmatch(text):  # 1, 1.0, 1,0 and 1e0 are one number
        return str(Fraction(text.replace(",", ".")))
    return text if case else unicodedata.normalize("NFC", text.casefold())
