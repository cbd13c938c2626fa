"""HDF5 files from strangers: refuse those that lead to other files, before anything is read."""

from __future__ import annotations

import io
from typing import Any

from tlfeatures.errors import WeightsError

_MOST_OBJECTS = 100_000
_MOST_BYTES = 2**33  # of all datasets, when they are read


def check_hdf5(content: bytes, title: str) -> set[str]:
    """Check that an HDF5 file holds all of its values itself.

    Links to other files or other places, datasets whose values are in other files, virtual
    datasets, datasets of other values than numbers, and datasets of 8 GB in total are refused.

    Parameters
    ----------
    content : bytes
    title : str
        What the file is, for the message.

    Returns
    -------
    set of str
        Names of its groups, datasets and attributes at the top.

    Raises
    ------
    WeightsError
        If it is another file, or refers to other files.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            _check_group(file)
            return {*file, *file.attrs}
    except WeightsError as error:
        raise WeightsError(f"{title} {error}") from error
    except Exception as error:  # h5py has many for a damaged file
        raise WeightsError(f"{title} is not an HDF5 file that can be read: {error}") from error


def _check_group(file: Any) -> None:
    import h5py

    pending, seen, total = [("", file)], 0, 0
    while pending:
        path, group = pending.pop()
        for name in group:
            seen += 1
            if seen > _MOST_OBJECTS:
                raise WeightsError(f"has more than {_MOST_OBJECTS:,} groups and datasets")
            place = f"{path}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsError(f"has a link at {place}, which may lead to another file")
            item = group[name]
            if isinstance(item, h5py.Group):
                pending.append((place, item))
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise WeightsError(f"keeps the values of {place} in another file")
                if item.dtype.hasobject:  # values of any length: many may be the same large one
                    raise WeightsError(f"has other values than numbers at {place}")
                total += item.size * item.dtype.itemsize if item.size else 0
                if total > _MOST_BYTES:
                    raise WeightsError(f"has more than {_MOST_BYTES:,} bytes of values")
