"""Checks of the facts that are read from a results folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlfeatures.benchmarking.store.format import (
    CONTROL_FACTS,
    ENTRY_SCORE,
    FILE_FACTS,
    FORMAT,
    FORMAT_VERSION,
    GROUPS_RANGE,
    RESULTS,
    STUDY,
)
from tlfeatures.errors import FormatError


def remedy(path: Path) -> str:
    """Return how to repair a folder that has a damaged file, as the end of an error message."""
    if path.name == STUDY:
        return "run the benchmark again with another folder"
    what = "no entry" if path.name == RESULTS else "only this entry"
    return f"remove it and run the benchmark again, which computes {what} again"


def check_format(path: Path, stored: Any, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a file belongs to a benchmark, has this version, and has all facts.

    Parameters
    ----------
    path : Path
        The file that the facts were read from.
    stored : JSON value
    kinds : mapping of name to type
        Facts that the file must have, and their types.

    Returns
    -------
    dict
        `stored`.

    Raises
    ------
    FormatError
        If the format or its version is another one, or a fact is missing or has a wrong type.
    """
    own = stored if isinstance(stored, dict) else {}
    format_ = own.get("format"), own.get("format_version")
    if format_ != (FORMAT, FORMAT_VERSION):
        name, version = (" ".join(str(value).split())[:40] for value in format_)
        raise FormatError(
            f"{path} has format {name} version {version}, expected {FORMAT} version "
            f"{FORMAT_VERSION}; run `pip install --upgrade tlfeatures`, or give another -o"
        )
    check_kinds(path, own, kinds)
    return own


def check_kinds(path: Path, facts: Any, kinds: Mapping[str, Any]) -> None:
    """Check that all facts are present and have the right type.

    Parameters
    ----------
    path : Path
        The file that the facts were read from.
    facts : mapping of name to value
        An object of another type raises an error.
    kinds : mapping of name to type
        Facts that are needed, and their types.

    Raises
    ------
    FormatError
        If a fact is missing or has a wrong type. The message names the first such fact.
    """
    for name, kind in kinds.items():
        if not isinstance(facts, dict) or name not in facts:
            raise FormatError(f"{path} is damaged: it has no {name}; {remedy(path)}")
        if not isinstance(facts[name], kind):
            raise FormatError(
                f"{path} is damaged: its {name} is {str(facts[name])[:40]!r}; {remedy(path)}"
            )


def check_source(path: Path, about: Any) -> None:
    """Check what is stored about an embeddings file, or about several that are joined.

    Raises
    ------
    FormatError
        See `check_kinds`.
    """
    if not isinstance(about, dict) or "joined" not in about:
        check_kinds(path, about, FILE_FACTS)
        return
    check_kinds(path, about, {"joined": dict})
    for part in about["joined"].values():
        check_kinds(path, part, {"file": str, **FILE_FACTS})


def check_items(path: Path, name: str, items: list[Any], kind: Any) -> None:
    """Check that all items of a list have the right type; see `check_kinds`."""
    for item in items:
        check_kinds(path, {name: item}, {name: kind})


def check_scores(path: Path, scores: Any, names: Iterable[str]) -> None:
    """Check that these scores are present, and that all scores have their facts.

    Raises
    ------
    FormatError
        See `check_kinds`.
    """
    check_kinds(path, scores, dict.fromkeys(names, dict))
    for score in scores.values():
        check_kinds(path, score, ENTRY_SCORE)
        if score["groups_range"] is not None:
            check_kinds(path, score["groups_range"], GROUPS_RANGE)


def check_control(path: Path, control: Any) -> None:
    """Raise a FormatError if a fact of a control is missing or has a wrong type."""
    check_kinds(path, control, CONTROL_FACTS)
    for name in ("classes", "evidence"):
        check_items(path, name, control[name], str)
    check_interval(path, control["interval"])


def check_interval(path: Path, interval: Any) -> None:
    """Raise a FormatError if an interval is neither None nor two numbers."""
    if interval is not None:
        bounds = dict(zip(("low", "high"), interval, strict=False))
        check_kinds(path, bounds, {"low": float | int, "high": float | int})


@contextmanager
def as_format_error(path: Path) -> Iterator[None]:
    """Convert the errors of reading a damaged file to a FormatError that names the file."""
    try:
        yield
    except OSError as error:
        raise FormatError(f"{path} can't be read: {error.strerror}") from error
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        no_key = isinstance(error, KeyError)
        why = f"there is no {error}" if no_key else " ".join(str(error).split())
        raise FormatError(f"{path} is damaged ({why[:200]}); {remedy(path)}") from error
