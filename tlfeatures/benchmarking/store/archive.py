"""Archives of facts and arrays: the file type of `study.npz` and of the entries.

An archive is a zip file whose members are not compressed: `facts.json`, and one `NAME.npy` for each
array. `numpy.load` opens it as well. Reading a file needs no more memory than the size of the file,
and executes nothing in the file.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.store.checks import remedy
from tlfeatures.errors import FormatError
from tlfeatures.files import replacing

_FACTS = "facts.json"
_NPY_VERSION = (1, 0)

Arrays = dict[str, NDArray[Any]]


def write_archive(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an archive under a temporary name, flush it, and rename it.

    Parameters
    ----------
    path : Path
    facts : mapping
        JSON-ready.
    arrays : mapping of name to ndarray

    Raises
    ------
    OutputError
        If the file can't be written. An existing file is kept.
    """
    with replacing(path, tidy=False) as fresh, zipfile.ZipFile(fresh, "w") as archive:
        # A ZipInfo has a fixed date, so that the same data gives the same bytes.
        archive.writestr(zipfile.ZipInfo(_FACTS), json.dumps(facts))
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, _NPY_VERSION, allow_pickle=False)


def read_archive(path: Path, types: Mapping[str, str]) -> tuple[Any, Arrays]:
    """Read an archive. It need not come from a trusted source.

    Parameters
    ----------
    path : Path
    types : mapping of name to str
        Names of the arrays that the file must have, and their NumPy types, such as "<i4".

    Returns
    -------
    facts : JSON value
    arrays : dict of name to ndarray
        Read-only arrays.

    Raises
    ------
    FormatError
        If the file is missing, damaged, or of another type. The message is one line that names the
        file.
    """
    try:
        if not path.is_file():  # a pipe would never end
            raise ValueError("no such file" if not path.exists() else "not a regular file")
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, [_FACTS, *(f"{name}.npy" for name in types)], path)
            facts = json.loads(archive.read(_FACTS))
            arrays = {
                name: _array(archive.read(f"{name}.npy"), type_) for name, type_ in types.items()
            }
    except Exception as error:  # a damaged zip raises many types, from zlib.error to RuntimeError
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FormatError(f"{path} can't be read ({reason}); {remedy(path)}") from error
    return facts, arrays


def _check_members(archive: zipfile.ZipFile, names: list[str], path: Path) -> None:
    members = archive.infolist()
    if sorted(member.filename for member in members) != sorted(names):
        raise ValueError(f"its members are not exactly {', '.join(names)}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("it is compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("its members are larger than the file")


def _array(data: bytes, type_: str) -> NDArray[Any]:
    """Read an array from the bytes of an npy file; the number of bytes must match its header."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != _NPY_VERSION:
        raise ValueError("an array has another npy version")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype != np.dtype(type_) or by_columns:
        raise ValueError(f"an array is of type {dtype}, expected {type_}")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)
