"""What is known of the probabilities of a head: how they are calibrated, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tlfeatures.heads.calibration_methods import ISOTONIC, SIGMOID, TEMPERATURE
from tlfeatures.names import counted, number

_NAMES = {
    SIGMOID: "Platt's sigmoid",
    TEMPERATURE: "one temperature",
    ISOTONIC: "isotonic regression",
}


@dataclass(frozen=True)
class Probabilities:
    """How the probabilities of a head are calibrated, and how good they are out-of-fold.

    Attributes
    ----------
    method : {"sigmoid", "temperature", "isotonic"} or None
        What calibrates the probabilities: Platt's sigmoid, one temperature for all classes, or
        isotonic regression. None if the head gives probabilities itself.
    fold_images : int or None
        Number of images that the calibration of a fold is fitted on: the training images of the
        fold, as the mean over folds. None without a calibration.
    images : int or None
        Number of images that the calibration of the saved model is fitted on. None without a
        calibration, or if no model was saved.
    log_loss : float or None
        Log loss of the out-of-fold probabilities after calibration.
    calibration_error : float
        Expected calibration error of the out-of-fold probabilities after calibration, from 0 to 1;
        see `tlfeatures.metrics.reliability.reliability`.
    """

    method: str | None
    fold_images: int | None
    images: int | None
    log_loss: float | None
    calibration_error: float

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Probabilities:
        """Create them from the facts of a model file, which `fact_schema` has checked."""
        return cls(**{name: facts[name] for name in cls.__dataclass_fields__})

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """The facts in a sentence."""
        by = "by the head itself"
        if self.method is not None:
            by = f"by {_NAMES.get(self.method, self.method)}, fitted on {self._fitted_on}"
        loss = "" if self.log_loss is None else f"; log loss {number(self.log_loss)}"
        return (
            f"Probabilities: {by}. On average, a probability is "
            f"{100 * self.calibration_error:.1f} percentage points away from the share of right "
            f"labels (expected calibration error {number(self.calibration_error)}){loss}."
        )

    @property
    def line(self) -> str:
        """How far the probabilities are from the truth, in a line for the terminal."""
        return (
            f"probabilities: on average {100 * self.calibration_error:.1f} percentage points away "
            "from the share of right labels"
        )

    @property
    def _fitted_on(self) -> str:
        saved = "" if self.images is None else f"{self.images:,} in the saved model"
        if self.fold_images is None:
            return saved
        in_fold = f"{counted(self.fold_images, 'image')} in each fold"
        return f"{in_fold} ({saved})" if saved else in_fold
