"""Heads that are not in the table: scikit-learn classes by name, and entry points of packages."""

from __future__ import annotations

import importlib
import reprlib
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Any

from sklearn.base import BaseEstimator, is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.calibrated_classifier import CalibratedClassifier
from tlfeatures.heads.classifiers.named_boosting import NamedBoosting
from tlfeatures.names import unknown_name

ENTRY_POINTS = "tlfeatures.heads"

Factory = Callable[[int | None], BaseEstimator]  # takes a seed


def make_custom_head(name: str, seed: int | None, others: Iterable[str] = ()) -> Pipeline:
    """Create a head from `module:Class` or from an entry point.

    Parameters
    ----------
    name : str
        `module:Class`, or the name of an entry point in the group `tlfeatures.heads`.
    seed : int or None
        Seed for a class that has the parameter `random_state`, and for the entry point's function.
    others : iterable of str
        Names of other heads, for the error message about an unknown head.

    Returns
    -------
    Pipeline
        The pipeline of the entry point, or a classifier on standardised columns.

    Raises
    ------
    ParameterError
        If the name is unknown, can't be imported, or isn't the name of a classifier.
    """
    factory = _class_factory(name) if ":" in name else _entry_point(name, others)
    classifier = factory(seed)
    if not _is_classifier(classifier):
        raise ParameterError(f"head {name} is not a scikit-learn classifier: {classifier!r}")
    return classifier if isinstance(classifier, Pipeline) else _standardised(classifier, seed)


def check_classifier(head: object, argument: str) -> BaseEstimator:
    """Check that an object is a scikit-learn classifier, and return it.

    Parameters
    ----------
    head : object
    argument : str
        Name of the argument, for the error message.

    Raises
    ------
    ParameterError
        If the object is not a scikit-learn classifier.
    """
    if _is_classifier(head):
        return head
    expected = "expected the name of a head or a scikit-learn classifier"
    if isinstance(head, type):
        name = head.__name__
        raise ParameterError(f"{argument} has the class {name}; {expected}, as in {name}()")
    if isinstance(head, BaseEstimator):
        raise ParameterError(
            f"{argument} has {class_name(head)}, which is not a classifier; {expected}"
        )
    # The repr of a dataset or an array would fill the screen.
    is_short = isinstance(head, int | float | list | tuple | None)
    shown = reprlib.repr(head) if is_short else f"a {type(head).__name__}"
    raise ParameterError(f"{argument} has {shown}; {expected}")


def class_name(head: BaseEstimator) -> str:
    """Return the name of a classifier's class; for a pipeline, the class of its last step."""
    last = head.steps[-1][1] if isinstance(head, Pipeline) else head
    return class_name(last) if isinstance(last, Pipeline) else type(last).__name__


def _is_classifier(head: object) -> bool:
    is_object = isinstance(head, BaseEstimator)  # and not a class
    return is_object and bool(is_classifier(head))


def custom_grid(name: str, others: Iterable[str] = ()) -> Mapping[str, Any]:
    """Return the attribute `grid` of an entry point's function; empty if there is none."""
    grid: Mapping[str, Any] = {} if ":" in name else getattr(_entry_point(name, others), "grid", {})
    return grid


def _standardised(classifier: BaseEstimator, seed: int | None) -> Pipeline:
    if not hasattr(classifier, "predict_proba") and hasattr(classifier, "decision_function"):
        classifier = CalibratedClassifier(classifier, random_state=seed)
    if isinstance(classifier, KNeighborsClassifier) and classifier.algorithm == "auto":
        # A model file can't contain a search tree. The neighbours are the same without it.
        classifier.set_params(algorithm="brute")
    if type(classifier) is HistGradientBoostingClassifier:
        classifier = NamedBoosting(**classifier.get_params())
    return Pipeline([("scale", StandardScaler()), ("classifier", classifier)])


def _class_factory(name: str) -> Factory:
    module, _, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ParameterError(
            f"head {name} can't be imported: {error}; expected module:Class, for example "
            "sklearn.ensemble:ExtraTreesClassifier"
        ) from error

    def create(seed: int | None) -> BaseEstimator:
        try:
            classifier = kind()
        except TypeError as error:
            raise ParameterError(
                f"head {name} can't be created without arguments: {error}"
            ) from error
        seeded = hasattr(classifier, "get_params") and "random_state" in classifier.get_params()
        return classifier.set_params(random_state=seed) if seeded else classifier

    return create


def _entry_point(name: str, others: Iterable[str]) -> Factory:
    points = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
    if name not in points:
        raise unknown_name("head", name, [*others, *points])
    factory: Factory = points[name].load()
    return factory
