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


# Kinds of files that commands create, and the endings that suit them, the usual one first.
_ENDINGS = {
    "an embeddings file": (".h5", ".hdf5", ".hdf"),
    "a model": (".model",),
    "an ONNX file": (".onnx",),
}

# Endings that belong to a kind of file. A name may also have an ending that no program knows.
_KNOWN_ENDINGS = frozenset(
    {".csv", ".tsv", ".txt", ".md", ".json", ".jsonl", ".html", ".htm", ".pdf", ".svg"}
    | {".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".bmp", ".zip", ".py"}
    | {".npy", ".npz", ".parquet", ".xlsx", ".onnx", ".keras", ".model", ".h5", ".hdf5"}
)


def check_ending(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse the name of a file that has the ending of another kind of file.

    Parameters
    ----------
    path : path
    kind : {"an embeddings file", "a model", "an ONNX file"}

    Raises
    ------
    ParameterError
    """
    own, ending = _ENDINGS[kind], Path(path).suffix.lower()
    if ending in _KNOWN_ENDINGS and ending not in own:
        raise ParameterError(
            f"{path} ends in {ending}, which is not the ending of {kind}; name a file such as "
            f"{Path(path).with_suffix(own[0])}"
        )


def replace_file(path: Path, data: bytes) -> None:
    """Write a file under another name, and replace the old one only once it is whole."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
