"""Fitting a head on a dataset, see `Model.fit`."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from sklearn.base import BaseEstimator, clone

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.errors import ModelError
from tlfeatures.features.combined import BackbonePart
from tlfeatures.heads.coordinate_step import compact
from tlfeatures.model_selection.fit_warnings import Notices
from tlfeatures.model_selection.head_fit import fit_on_all
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.outliers import OutlierDetector
from tlfeatures.models.training_sketch import TrainingSketch


def fit_model(
    head: BaseEstimator,
    data: Dataset,
    name: str | None,
    facts: dict[str, Any] | None,
    notices: Notices | None,
) -> FittedHead:
    """Fit a head, see `Model.fit`."""
    if not hasattr(head, "predict_proba"):
        raise ModelError(
            f"{type(head).__name__} has no predict_proba, which a model needs; wrap it in "
            "sklearn.calibration.CalibratedClassifierCV"
        )
    name = name or type(head).__name__
    return model_of(compact(fit_on_all(clone(head), data, name, notices)), data, name, facts or {})


def model_of(fitted: BaseEstimator, data: Dataset, name: str, facts: dict[str, Any]) -> FittedHead:
    """Create a model of a fitted head.

    Parameters
    ----------
    fitted : scikit-learn classifier
        A head that is fitted on all images of the dataset.
    data : Dataset
        Its rows may be in shards.
    name : str
        Name of the head in `info`.
    facts : dict
        See `Model.fit`.
    """
    outliers = OutlierDetector.fit(data.X, data.together)
    joined = tuple(BackbonePart(part.name, part.spec, part.embedding) for part in data.joined)
    info = _info(data, name, facts)
    sketch = TrainingSketch.fit(data.X, data.parts)
    return FittedHead(
        fitted, data.spec, data.embedding, info, outliers, data.digests, joined, sketch
    )


def _info(data: Dataset, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    packages = ("tlfeatures", "scikit-learn", "numpy")
    return {
        "classes": data.classes,
        "counts": data.counts,
        "images": len(data.y),
        "columns": data.X.shape[1],
        "variants": data.n_variants,
        "head": name,
        **facts,
        "versions": {package: metadata.version(package) for package in packages},
    }
