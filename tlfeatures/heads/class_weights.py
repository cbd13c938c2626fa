"""Class weights by class name.

Labels are strings in this package, even if they look like numbers. Before scikit-learn looks up a
class in `class_weight`, some classifiers convert the class name to a number, and others convert it
to a class code. Without this module, the class "10" would need another key for each classifier.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from tlfeatures.errors import ParameterError
from tlfeatures.names import some_of

_NAMED = 30  # classes in a message


class ClassWeights(dict[str, float]):
    """Weights by class name. The number 10 is accepted as the key of the class "10".

    The mapping is an ordinary dict of strings, so that every classifier of scikit-learn accepts it.

    Parameters
    ----------
    weights : mapping of name to float, default={}
        Weights of classes. A name may be a number: 10 and "10" are the same class.

    Raises
    ------
    ParameterError
        If a class has two weights, or a weight is not a number of at least 0.

    Examples
    --------
    >>> weights = ClassWeights({10: 2.0, "ant": 1.0})
    >>> weights["10"], weights[10], "bee" in weights
    (2.0, 2.0, False)
    """

    def __init__(self, weights: Mapping[Any, float] | None = None) -> None:
        super().__init__()
        for key, weight in (weights or {}).items():
            name = text_of(key)
            if super().__contains__(name):
                raise ParameterError(f"class_weight has two weights of the class {name!r}")
            self[name] = _checked(name, weight)

    def __contains__(self, name: object) -> bool:
        return self._key(name) is not None

    def __getitem__(self, name: Any) -> float:
        key = self._key(name)
        if key is None:
            raise KeyError(name)
        return super().__getitem__(key)

    def _key(self, name: Any) -> str | None:
        text = text_of(name)
        if super().__contains__(text):
            return text
        if not isinstance(name, numbers.Integral):
            return None
        # scikit-learn converts the class "007" to the key 7.
        return next((key for key in self if _as_number(key) == name), None)


def text_of(name: Any) -> str:
    """Convert the name of a class to a string: 10, 10.0 and "10" are "10"."""
    if isinstance(name, float | np.floating) and float(name).is_integer():
        return str(int(name))
    return str(name)


def _as_number(name: str) -> int | None:
    try:
        return int(name)
    except ValueError:
        return None


def _checked(name: str, weight: Any) -> float:
    number = isinstance(weight, numbers.Real) and not isinstance(weight, bool)
    if not number or not 0 <= weight < np.inf:
        raise ParameterError(f"class_weight of {name!r} must be a number from 0 up, got {weight!r}")
    return float(weight)


def weights_of(weights: Mapping[Any, float], classes: Iterable[Any]) -> NDArray[np.float64]:
    """Return the weight of each class; 1 if the mapping lacks it.

    Parameters
    ----------
    weights : mapping of name to float
    classes : iterable of k class names
        Strings or numbers.

    Returns
    -------
    ndarray of shape (k,), float64

    Raises
    ------
    ParameterError
        If the mapping names an unknown class, or all weights are 0.
    """
    by_name = ClassWeights(weights)
    names = [text_of(name) for name in classes]
    _check_classes(by_name, names, "class_weight")
    found = np.array([by_name.get(name, 1.0) for name in names], np.float64)
    if not found.any():
        raise ParameterError("class_weight is 0 for every class; expected a weight above 0")
    return found


def _check_classes(weights: ClassWeights, names: Sequence[str], what: str) -> None:
    unknown = [repr(name) for name in weights if name not in set(names)]
    if unknown:
        raise ParameterError(
            f"{what} names {some_of(unknown, _NAMED)}; expected classes of "
            f"{some_of(map(repr, names), _NAMED)}"
        )


# ---- in the parameters of heads


def named_weights(params: Mapping[str, Any]) -> dict[str, Any]:
    """Convert each `class_weight` that is a mapping to `ClassWeights`."""
    return {
        key: ClassWeights(value) if _is_weights(key, value) else value
        for key, value in params.items()
    }


def with_named_weights(head: BaseEstimator) -> BaseEstimator:
    """Convert the class weights of a head itself to `ClassWeights`, and return the head."""
    weights = {key: value for key, value in head.get_params().items() if _is_weights(key, value)}
    return head.set_params(**named_weights(weights)) if weights else head


def _is_weights(key: str, value: Any) -> bool:
    return key.rpartition("__")[2] == "class_weight" and isinstance(value, Mapping)


def _weights_in(head: BaseEstimator) -> dict[str, ClassWeights]:
    params = named_weights(head.get_params())
    return {key: value for key, value in params.items() if isinstance(value, ClassWeights)}


def by_codes(estimator: BaseEstimator, classes: Sequence[Any]) -> BaseEstimator:
    """Clone an estimator that is fitted on class codes, with its class weights by code.

    Parameters
    ----------
    estimator : scikit-learn classifier
    classes : sequence of k class names
        Their codes are 0 to k - 1.
    """
    weights = {
        key: dict(enumerate(weights_of(value, classes).tolist()))
        for key, value in _weights_in(estimator).items()
    }
    return clone(estimator).set_params(**weights)


def check_class_weights(name: str, head: BaseEstimator, classes: Sequence[str]) -> None:
    """Check that a head has no weights of unknown classes.

    Parameters
    ----------
    name : str
        Name of the head, for the error message.
    head : scikit-learn classifier
    classes : sequence of str
        All classes of the dataset.

    Raises
    ------
    ParameterError
        If a class is unknown, or two class names look like the same number, because scikit-learn
        can't distinguish them.
    """
    for weights in _weights_in(head).values():
        _check_classes(weights, classes, f"class_weight of {name}")
        numbers_of: dict[int, str] = {}
        for label in classes:
            number = _as_number(label)
            if number is not None and numbers_of.setdefault(number, label) != label:
                raise ParameterError(
                    f"class_weight of {name}: scikit-learn can't distinguish the classes "
                    f"{numbers_of[number]!r} and {label!r}; rename one of them"
                )


def with_present(head: BaseEstimator, y: NDArray[Any]) -> BaseEstimator:
    """Remove the weights of classes that have no rows in `y` from a head, and return the head.

    The training rows of a fold may lack a class, and scikit-learn rejects weights of such classes.
    """
    present = {text_of(name) for name in np.unique(y).tolist()}
    for key, weights in _weights_in(head).items():
        if not present.issuperset(weights):
            kept = {name: weight for name, weight in weights.items() if name in present}
            head.set_params(**{key: ClassWeights(kept)})
    return head
