"""How a head comes to its probabilities: by itself, or by a calibration fitted on images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIGMOID, TEMPERATURE, ISOTONIC = "sigmoid", "temperature", "isotonic"
METHODS = (SIGMOID, TEMPERATURE, ISOTONIC)

_OWN = "tlfeatures.heads.classifiers.calibrated_"  # classes of `BaseCalibratedClassifier`
_OF_SCIKIT_LEARN = "sklearn.calibration.CalibratedClassifierCV"
_SVC = ("sklearn.svm._classes.SVC", "sklearn.svm._classes.NuSVC")


def calibration_method(classes: str, params: Mapping[str, Any], n_classes: int) -> str | None:
    """Return the method that calibrates the probabilities of a head.

    Parameters
    ----------
    classes : str
        The classes of the steps of the head, as `class_path` names them.
    params : mapping
        Parameters of the head, as `plain_params` names them.
    n_classes : int
        Number of classes of the images.

    Returns
    -------
    str or None
        `sigmoid` (Platt's), `temperature` or `isotonic`. None if the head gives probabilities
        itself.
    """
    last = classes.rpartition(", ")[2]
    if last.startswith(_OWN):
        return own_method(n_classes)
    if last == _OF_SCIKIT_LEARN:
        method = params.get("method", SIGMOID)
        return method if method in METHODS else None
    return SIGMOID if last in _SVC and params.get("probability") is True else None


def own_method(n_classes: int) -> str:
    """Return the method of this package's heads: a sigmoid for two classes, else a temperature."""
    return SIGMOID if n_classes == 2 else TEMPERATURE
