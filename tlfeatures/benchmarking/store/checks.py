"""Checks of facts that were read from a results folder."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlfeatures.errors import FormatError


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
            raise FormatError(
                f"{path} has no {name}: it is damaged, or of an earlier version or a run that did "
                f"not end; run its `tlfeatures benchmark ... -o {path.parent}` again, or into "
                "another folder"
            )
        if not isinstance(facts[name], kind):
            raise FormatError(
                f"{path} is damaged: its {name} is {str(facts[name])[:40]!r}; run the benchmark "
                "again into another folder"
            )


def check_items(path: Path, name: str, items: list[Any], kind: Any) -> None:
    """Raise an error if an item of a list has another type; see `check_kinds`."""
    for item in items:
        check_kinds(path, {name: item}, {name: kind})


@contextmanager
def as_format_error(folder: Path) -> Iterator[None]:
    """Turn errors of reading a damaged folder into a FormatError that names the folder."""
    try:
        yield
    except OSError as error:
        raise FormatError(f"{error.filename} can't be read: {error.strerror}") from error
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError, csv.Error) as error:
        why = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(
            f"{folder} holds a damaged benchmark ({why}); run the benchmark again into another "
            "folder"
        ) from error
