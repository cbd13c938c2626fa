"""The accuracy of a model on embeddings or images, as scikit-learn's method `score` gives it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tlfeatures.dataset.from_arrays import names_of_rows
from tlfeatures.errors import ImageError
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.predictions import Predictions
from tlfeatures.models.unseen_images import spelled_like_classes
from tlfeatures.names import some_of

logger = logging.getLogger(__name__)


def accuracy(model: FittedHead, predictions: Predictions, y: ArrayLike | Sequence[Any]) -> float:
    """See `Model.score`. Labels that are not classes of the model count as wrong."""
    for row, reason in predictions.unreadable.items():
        raise ImageError(f"{predictions.paths[row]}: {reason}; leave it out of X and y")
    names = np.array(names_of_rows(y, "y", len(predictions)))
    truth = spelled_like_classes(model, names)
    unknown = sorted(set(truth.tolist()) - set(model.classes))
    if unknown:
        logger.warning(
            "y has classes that the model doesn't have, which count as wrong: %s",
            some_of(unknown, 5),
        )
    return float((predictions.labels == truth.astype(object)).mean())
