"""Which packages are installed, and on which of them Keras will compute. None is imported."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping

from tlfeatures.errors import ParameterError


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
    if not is_installed(package):
        return None
    # Some packages are distributed under several names, such as onnxruntime-gpu.
    for distribution in _distributions().get(package, []):
        return importlib.metadata.version(distribution)
    return None


def is_installed(package: str) -> bool:
    """Whether a package is installed, by the name by which it is imported."""
    return importlib.util.find_spec(package) is not None


def check_installed(package: str, what: str, extra: str, otherwise: str = "") -> None:
    """Check that an optional package is installed, before it is imported.

    Parameters
    ----------
    package : str
        The name by which it is imported.
    what : str
        What needs the package, for the message.
    extra : str
        The extra of this package that installs it.
    otherwise : str, optional
        What can be done instead of installing it, for the message.

    Raises
    ------
    ParameterError
        If it is not installed.
    """
    if not is_installed(package):
        remedy = f"run pip install 'tlfeatures[{extra}]'" + (otherwise and f", or {otherwise}")
        raise ParameterError(f"{what} needs {package}, which is not installed; {remedy}")


@functools.cache  # it reads the list of files of each package
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def backend_of_keras() -> str:
    """Name the backend on which Keras computes once it is started by this package."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"
