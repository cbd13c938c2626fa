"""Checks of facts that were read from a results folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlfeatures.benchmarking.store.format import RESULTS, STUDY
from tlfeatures.benchmarking.study import FORMAT, FORMAT_VERSION
from tlfeatures.errors import FormatError


def remedy(path: Path) -> str:
    """Return what to do about a damaged file of a folder."""
    if path.name == STUDY:
        return "run the benchmark again into another folder"
    what = "nothing that is there" if path.name == RESULTS else "only this entry"
    return f"remove it and run the benchmark again, which computes {what} anew"


def check_format(path: Path, stored: Any, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Raise an error unless this is a file of a benchmark of this version, with these facts.

    Parameters
    ----------
    path : Path
        The file that the facts were read from.
    stored : JSON value
    kinds : mapping of name to type
        Facts that the file must have.

    Returns
    -------
    dict
        `stored`.

    Raises
    ------
    FormatError
    """
    own = stored if isinstance(stored, dict) else {}
    found = own.get("format"), own.get("format_version")
    if found != (FORMAT, FORMAT_VERSION):
        name, version = (" ".join(str(each).split())[:40] for each in found)
        raise FormatError(
            f"{path} has format {name} version {version}, this tlfeatures reads version "
            f"{FORMAT_VERSION} of a {FORMAT}: `pip install --upgrade tlfeatures`, or another -o"
        )
    check_kinds(path, own, kinds)
    return own


def check_kinds(path: Path, facts: Any, kinds: Mapping[str, Any]) -> None:
    """Raise an error if facts are missing or have another type than the one they were written with.

    Parameters
    ----------
    path : Path
        The file that the facts were read from.
    facts : mapping of name to value
        Anything else is an error.
    kinds : mapping of name to type

    Raises
    ------
    FormatError
        With the name of the first wrong fact.
    """
    for name, kind in kinds.items():
        if not isinstance(facts, dict) or name not in facts:
            raise FormatError(f"{path} is damaged: it has no {name}; {remedy(path)}")
        if not isinstance(facts[name], kind):
            raise FormatError(
                f"{path} is damaged: its {name} is {str(facts[name])[:40]!r}; {remedy(path)}"
            )


def check_items(path: Path, name: str, items: list[Any], kind: Any) -> None:
    """Raise an error if an item of a list has another type; see `check_kinds`."""
    for item in items:
        check_kinds(path, {name: item}, {name: kind})


def damaged(path: Path, error: Exception) -> FormatError:
    """Return the error that a file is damaged, with the reason and what to do, in one line."""
    why = f"there is no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    return FormatError(f"{path} is damaged ({why[:200]}); {remedy(path)}")


@contextmanager
def as_format_error(path: Path) -> Iterator[None]:
    """Turn errors of reading a damaged file into a FormatError that names the file."""
    try:
        yield
    except OSError as error:
        raise FormatError(f"{path} can't be read: {error.strerror}") from error
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error
