"""Checks of the file that a page or a figure is written to, before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tlfeatures.errors import ParameterError


def check_page(output: str | os.PathLike[str]) -> None:
    """Check that a page can be written to a path. Call it before anything is computed.

    Raises
    ------
    ParameterError
    """
    check_output(output, (".html", ".htm"))


def check_output(output: str | os.PathLike[str], suffixes: Sequence[str]) -> None:
    """Check that a path has one of these endings and is a file in a folder that exists.

    Raises
    ------
    ParameterError
    """
    path = Path(output)
    if path.suffix.lower() not in suffixes:
        raise ParameterError(
            f"output is {str(output)!r}; expected a name ending in {' or '.join(suffixes)}"
        )
    if path.is_dir():
        raise ParameterError(f"{output} is a folder; expected the name of a file")
    if not path.absolute().parent.is_dir():
        raise ParameterError(f"{output} is in a folder that does not exist; create {path.parent}")
