"""Which packages are installed, and on which of them Keras will compute. None is imported."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping


def version_of(package: str) -> str | None:
    """Return the version of an installed package; None if it isn't installed.

    Parameters
    ----------
    package : str
        Its name on the package index, or the name by which it is imported.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pass
    if importlib.util.find_spec(package) is None:
        return None
    # Some packages are distributed under several names, such as onnxruntime-gpu.
    for distribution in _distributions().get(package, []):
        return importlib.metadata.version(distribution)
    return None


@functools.cache  # it reads the list of files of each package
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def backend_of_keras() -> str:
    """Name the backend on which Keras computes once it is started by this package."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"
