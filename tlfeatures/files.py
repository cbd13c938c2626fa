"""Files that a command makes: where one may be, and how it replaces another."""

from __future__ import annotations

import os
from pathlib import Path

from tlfeatures.errors import ParameterError


def file_target(path: str | os.PathLike[str], example: str, named: str) -> Path:
    """Refuse a place where no file can be made.

    Parameters
    ----------
    path : path
    example : str
        Name of a file, for the message.
    named : str
        What the file is, for the message.

    Returns
    -------
    Path
        With links resolved, so that a link stays one.

    Raises
    ------
    ParameterError
        If it is a folder, or in no folder.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise ParameterError(f"{path} is a folder; name a file, as in -o {path}/{example}")
    if not target.parent.is_dir():
        raise ParameterError(f"there is no folder {target.parent} for {named}; make it first")
    return target


def replace_file(path: Path, data: bytes) -> None:
    """Write a file under another name, and replace the old one only once it is whole."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
