"""Finding outliers: images that are far from all other images."""

from __future__ import annotations

import numpy as np

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.distances import neighbor_distances
from tlfeatures.model_selection.audit.results import Finding, finding_of

_NEIGHBOR = 10  # not the nearest image, because it may be a copy
_LIMIT = 3.5  # in robust deviations
_NORMAL = 1.4826  # standard deviation of normal values / their median absolute deviation
_LEAST_DEVIATION = 0.01  # for almost equal images: an image 3.5 % farther away is no outlier
_LEAST_DISTANCE = 1e-3  # copies have the distance 0, which has no logarithm


def find_outliers(data: Dataset) -> dict[int, Finding]:
    """Find images beyond the limit of 3.5 robust deviations; see `audit.py` for the method.

    Rows whose values are all 0 have no distance and are left out.

    Returns
    -------
    dict of row to Finding
    """
    distance = neighbor_distances(data.X, _NEIGHBOR).astype(np.float64)
    logarithm = np.log(np.maximum(distance, _LEAST_DISTANCE))
    excess = np.full(len(logarithm), np.nan)
    defined = np.isfinite(logarithm)
    for name in data.classes:
        rows = defined & (data.y == name)
        if rows.any():
            excess[rows] = logarithm[rows] - np.median(logarithm[rows])
    if not defined.any():
        return {}
    deviation = max(_NORMAL * float(np.median(np.abs(excess[defined]))), _LEAST_DEVIATION)
    findings = {}
    for row in np.flatnonzero(excess > _LIMIT * deviation).tolist():
        score = 1 - _LIMIT * deviation / (2 * excess[row])
        reason = (
            f"{np.exp(excess[row]):.1f} times as far from similar images as is usual in class "
            f"{data.y[row]}"
        )
        findings[row] = finding_of("outlier", data, row, None, score, reason)
    return findings
