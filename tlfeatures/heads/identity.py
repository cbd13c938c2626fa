"""What identifies a head: its classes, their code, and their parameters.

A benchmark uses the results in a folder again only if the head is the same.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import uuid
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import joblib
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

_PLAIN = bool | int | float | str | None
_OWN_PACKAGES = ("sklearn", "tlfeatures")  # the versions of these are in the key of every entry


def class_path(head: BaseEstimator) -> str:
    """Return the classes of a head's steps. They distinguish it from other heads of the same name.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> class_path(DummyClassifier())
    'sklearn.dummy.DummyClassifier'
    """
    steps = [step for _, step in head.steps] if isinstance(head, Pipeline) else [head]
    return ", ".join(_path(type(step)) for step in steps)


def settings_digest(head: BaseEstimator, *, exact: bool) -> str:
    """Return a hash of the classes and parameters of a head.

    It includes parameters that are not plain data, such as functions and arrays.

    Parameters
    ----------
    head : scikit-learn classifier
        Not fitted.
    exact : bool
        If True, the hash depends on `random_state`, and a head that has a function as a parameter
        has another hash each time. If False, the hash does not depend on `random_state`, and it
        depends on the name of a function.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    params = {
        name: _text(value, exact)
        for name, value in head.get_params().items()
        if exact or name.rpartition("__")[2] != "random_state"
    }
    text = json.dumps([class_path(head), sorted(params.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(head: BaseEstimator) -> str:
    """Return a hash of the code of classes that are not of scikit-learn or this package.

    The hash depends on the version of the package of each class. If the package has no version, it
    depends on the source of the class. A class without a source, for example one that was typed
    into a console, has another hash each time.
    """
    parts = {
        _path(kind): _code_of(kind)
        for kind in _classes_of(head)
        if kind.__module__.partition(".")[0] not in _OWN_PACKAGES
    }
    return hashlib.sha256(json.dumps(sorted(parts.items())).encode()).hexdigest()[:16]


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _classes_of(head: BaseEstimator) -> Iterator[type]:
    yield type(head)
    for value in head.get_params().values():
        if isinstance(value, BaseEstimator):
            yield type(value)


def _code_of(kind: type) -> str:
    package = sys.modules.get(kind.__module__.partition(".")[0])
    version = getattr(package, "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return uuid.uuid4().hex


def _text(value: Any, exact: bool) -> str:
    """Return a text for a value. If `exact`, different values have different texts."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, BaseEstimator):
        return settings_digest(value, exact=exact)  # its repr omits some parameters
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(_text(item, exact) for item in value)})"
    if isinstance(value, FunctionType):
        # The name does not depend on the code, or on the values that the code refers to.
        return uuid.uuid4().hex if exact else f"{value.__module__}.{value.__qualname__}"
    try:
        return str(joblib.hash(value))
    except Exception:  # it can't be pickled
        return uuid.uuid4().hex if exact else type(value).__qualname__
