"""Names and numbers in options and messages."""

from __future__ import annotations

import difflib
import numbers
import os
import re
from collections.abc import Iterable
from typing import Any

from tlfeatures.errors import ParameterError


def as_list(value: Any) -> list[Any]:
    """Return a list; a single name or path becomes a list of one, and None an empty one."""
    if value is None:
        return []
    return [value] if isinstance(value, str | os.PathLike) else list(value)


def as_seed(value: Any) -> int | None:
    """Return a seed as an int, or None; raise `ParameterError` if it is no seed."""
    if value is None:
        return None
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not 0 <= int(value) < 2**31:
        raise ParameterError(
            f"random_state is {value!r}; expected a whole number from 0 to {2**31 - 1:,}, or None"
        )
    return int(value)


_MOST = 30  # names in a message; a network may have hundreds of layers


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ParameterError:
    """Create the error for an unknown name; it lists known ones, the most similar first."""
    names = list(known)
    if not names:
        return ParameterError(f"there is no {kind} {name!r}; the list of possible names is empty")
    near = difflib.get_close_matches(name, names, n=len(names), cutoff=0.5)
    ordered = near + [other for other in names if other not in near]
    return ParameterError(f"there is no {kind} {name!r}; there are: {some_of(ordered, _MOST)}")


def counted(count: int, noun: str) -> str:
    """Return `1 variant`, `5 variants`, `2 classes` or `2 entries`."""
    if count == 1:
        return f"{count} {noun}"
    if noun.endswith("ry"):
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def rounded_time(seconds: float) -> str:
    """Return a time for people, such as `25 minutes` or `3 hours`."""
    minutes = round(seconds / 60)
    if minutes < 120:
        return counted(max(minutes, 1), "minute")
    return counted(round(seconds / 3600), "hour")


MOST_CLASSES = 6  # names of classes in a line


def some_of(names: Iterable[str], most: int) -> str:
    """Return `a, b`, or for more names than `most`, `a, b and 3 more`."""
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def all_of(names: Iterable[str], most: int) -> str:
    """Return `a, b and c`, or for more names than `most`, the same as `some_of`."""
    *others, last = listed = list(names)
    if not others or len(listed) > most:
        return some_of(listed, most)
    return f"{', '.join(others)} and {last}"


# Control characters, halves of surrogate pairs, characters that XML can't have, and characters that
# turn the direction of the text after them. The marks of Arabic and Hebrew texts turn nothing.
_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def shortened(text: str, longest: int = 26) -> str:
    """Cut a long text in the middle, and replace characters that can't be shown."""
    text = _NOT_SHOWN.sub("\ufffd", re.sub(r"\s", " ", text))
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


def folds_in_words(folds: int, groups: int | None) -> str:
    """Say how a cross-validation divided the images, for example "5-fold cross-validation".

    Folds never separate a group, so as many folds as groups are one group each.
    """
    if groups is not None and folds == groups:
        return f"leave-one-group-out cross-validation ({groups:,} groups)"
    return f"{folds}-fold cross-validation"


def number(value: float | None) -> str:
    """Return a score with three digits, or `none`."""
    return "none" if value is None else f"{value:.3f}"


def percent(share: float, digits: int = 0) -> str:
    """Return a share of 0.25 as `25 %`."""
    return f"{100 * share:.{digits}f} %"


def sample_words(sample: int | None, images: int) -> str:
    """Name the images of an analysis: "all 900 images" or "a sample of 5,000 of 100,000 images"."""
    if sample is None:
        return f"all {images:,} images"
    return f"a sample of {sample:,} of the {images:,} images"


def missing_lines(missing: Iterable[tuple[str, str, str | None]]) -> list[str]:
    """Return a line for each reason why a score or an interval is missing.

    Parameters
    ----------
    missing : iterable of (head, score or interval, reason)
    """
    heads: dict[tuple[str, str], list[str]] = {}
    for head, what, reason in missing:
        heads.setdefault((what, reason or "not defined"), []).append(head)
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (what, reason), of in heads.items():
        together.setdefault((reason, tuple(of)), []).append(what)
    return [
        f"no {', no '.join(what)}{f' of {some_of(of, 6)}' if any(of) else ''}: {reason}"
        for (reason, of), what in together.items()
    ]


#: Words for whether something is surely so; None if it can't be known.
SURELY = {True: "yes", False: "not surely", None: "unknown"}


def chance(probability: float | None) -> str:
    """Return a probability of 0.97 as `97 %`; never 0 or 100 %. It is empty for None."""
    if probability is None:
        return ""
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else percent(probability)


def one_line(text: str) -> str:
    """Escape characters that can't be printed: names of files may hold newlines."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
