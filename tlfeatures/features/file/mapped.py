"""Rows of an HDF5 file as a read-only memory map, which processes share without a copy."""

from __future__ import annotations

import os
import sys
import weakref
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

SMALLEST = 64 * 2**20  # bytes: smaller tables are read, which is as fast


def mapped_rows(dataset: h5py.Dataset) -> NDArray[Any] | None:
    """Map the values of a dataset instead of reading them.

    The map stays on the file that is open now, even if another file replaces it: other processes
    open it by the link that Linux keeps for the open file. The values change if the file itself is
    changed, and reading them ends the process if the file is cut off. This package does neither to
    rows that are done.

    Parameters
    ----------
    dataset : h5py.Dataset
        A dataset of an open file.

    Returns
    -------
    ndarray of the dataset's shape, read-only, or None
        None if it is small, if it isn't stored in one aligned piece, or on other systems than
        Linux.
    """
    place, dtype = dataset.id.get_offset(), dataset.dtype
    if not sys.platform.startswith("linux") or dataset.nbytes < SMALLEST or place is None:
        return None
    if not dtype.isnative or place % dtype.alignment or not dataset.size:
        return None
    descriptor = os.dup(dataset.file.id.get_vfd_handle())
    try:
        link = f"/proc/{os.getpid()}/fd/{descriptor}"
        values = np.memmap(link, dtype, "r", place, dataset.shape)
    except (OSError, ValueError):  # no /proc, or a file that is shorter than it states
        os.close(descriptor)
        return None
    weakref.finalize(values, os.close, descriptor)
    return values.view(np.ndarray)
