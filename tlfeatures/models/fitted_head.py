"""A fitted head with the spec of its embedding: label embeddings, save, load."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tlfeatures.equality import EqualByValue
from tlfeatures.errors import FormatError, ModelError
from tlfeatures.features.spec import Spec
from tlfeatures.models.card import card_path, check_card_target, render_card
from tlfeatures.models.model_file import (
    check_facts,
    check_model_target,
    model_bytes,
    read_model,
    write_model,
)

if TYPE_CHECKING:
    from tlfeatures.models.outliers import OutlierDetector


@dataclass(frozen=True, eq=False)
class FittedHead(EqualByValue):
    """A fitted head with the spec of its embedding.

    Attributes
    ----------
    head : fitted scikit-learn classifier
    spec : Spec
    embedding : str
        `LAYER.POOLING`, or several joined as `A+B`.
    info : dict
        JSON-ready facts: classes, counts, images, columns, head, versions, and those that `fit`
        adds.
    outliers : OutlierDetector or None
        Flags images unlike those that the head was fitted on.
    digests : ndarray of shape (images, 32), uint8, or None
        sha256 of the image files that the head was fitted on.
    """

    head: Any
    spec: Spec
    embedding: str
    info: dict[str, Any]
    outliers: OutlierDetector | None = field(default=None, repr=False)
    digests: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def classes(self) -> list[str]:
        """The classes, in the order of the columns of `predict_proba`."""
        classes: list[str] = self.info["classes"]
        return classes

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of each class from embeddings of shape (n, d): shape (n, k).

        Raises
        ------
        ModelError
            If the head can't be used on them: other columns, or a damaged head.
        """
        probabilities: NDArray[np.float64] = self._by_head("predict_proba", X)
        return probabilities

    def predict_codes(self, X: NDArray[np.float32]) -> NDArray[np.int_]:
        """Return the label of each row of X, of shape (n, d), as its index in `classes`: shape (n,).

        It is the head's own decision. With two classes, it may be the less probable one.

        Raises
        ------
        ModelError
            If the head can't be used on them: other columns, or a damaged head.
        """
        labels = self._by_head("predict", X)
        codes = np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)
        if (np.asarray(self.classes)[codes] != labels).any():
            raise ModelError(
                "the head gives labels that are none of the model's classes: fit it again"
            )
        return codes

    def _by_head(self, method: str, X: NDArray[np.float32]) -> NDArray[Any]:
        try:
            result: NDArray[Any] = getattr(self.head, method)(X)
        except Exception as error:  # a damaged head can fail anywhere in scikit-learn
            raise ModelError(
                f"the head can't label embeddings of shape {X.shape}: {error}"
            ) from error
        return result

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, and its card to `PATH.md`.

        Existing files are replaced only when both new files are complete.

        Raises
        ------
        ParameterError
            If a file would be replaced that is no model or no card.
        ModelError
            If the head holds a type that loading would refuse, a fact isn't of the kind that a
            model file has, or the disk refuses a file.
        """
        card_target, target = check_card_target(path), check_model_target(path)
        facts = {"spec": self.spec.to_dict(), "embedding": self.embedding, **self.info}
        arrays: dict[str, NDArray[Any]] = {}
        if self.digests is not None:
            arrays["digests"] = self.digests
        if self.outliers is not None:
            facts["outliers"] = self.outliers.facts()
            arrays["sketch"] = self.outliers.sketch
        check_facts(facts)
        card = render_card(card_path(path).stem, facts)
        write_model(target, model_bytes(self.head, facts, arrays, target), card_target, card)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model from a file; nothing in it is executed.

        Raises
        ------
        FormatError
            If it is no model file, one of a newer version, or a damaged one.
        ModelError
            If it holds a type that is not on the list of trusted ones; the type is named.
        """
        from tlfeatures.models.outliers import OutlierDetector

        head, facts, arrays = read_model(path)
        spec, embedding = Spec.from_dict(facts.pop("spec")), facts.pop("embedding")
        try:
            outliers = OutlierDetector.of(facts.pop("outliers", None), arrays.get("sketch"))
            digests = checked_digests(arrays.get("digests"), facts["images"])
        except FormatError as error:
            raise FormatError(f"{path} is a damaged model file: {error}") from error
        return cls(head, spec, embedding, facts, outliers, digests)


def checked_digests(digests: NDArray[Any] | None, images: int) -> NDArray[np.uint8] | None:
    """Refuse digests of the wrong type or number."""
    if digests is not None and (digests.dtype != np.uint8 or digests.shape != (images, 32)):
        raise FormatError(f"the digests of its {images} images have the shape {digests.shape}")
    return digests
