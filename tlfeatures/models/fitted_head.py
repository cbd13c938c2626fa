"""A fitted head with the spec of its embedding. It labels embeddings, and is saved and loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import weights_of
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import FormatError, ModelError
from tlfeatures.features.combined import BackbonePart
from tlfeatures.features.spec import Spec
from tlfeatures.html_tables import MOST_ROWS, facts_html, result_html, table_html, text_html
from tlfeatures.metrics.scores import codes_of
from tlfeatures.model_selection.evaluation_html import score_table
from tlfeatures.models.backbone_facts import backbone_facts, pop_backbones
from tlfeatures.models.card import card_path, check_card_target, render_card
from tlfeatures.models.model_file import (
    check_facts,
    check_model_target,
    model_bytes,
    read_model,
    write_model,
)
from tlfeatures.models.operating_point import OperatingPoint
from tlfeatures.names import MOST_CLASSES, counted, shortened, some_of

if TYPE_CHECKING:
    from tlfeatures.models.outliers import OutlierDetector
    from tlfeatures.models.prediction_sets import PredictionSets
    from tlfeatures.models.training_sketch import TrainingSketch


@dataclass(frozen=True, eq=False)
class FittedHead(EqualByValue):
    """A fitted head with the spec of its embedding.

    Attributes
    ----------
    head : fitted scikit-learn classifier
    spec : Spec or None
        Settings with which the embedding is computed; None if several backbones compute it.
    embedding : str
        Name of the embedding: `LAYER.POOLING`, or several joined as `A+B`.
    info : dict
        JSON-ready facts: classes, counts, images, columns, head, versions, and the facts that `fit`
        adds.
    outliers : OutlierDetector or None
        Detector of images that are not like the training images.
    digests : ndarray of shape (images, 32), uint8, or None
        sha256 of the image files that the head was fitted on.
    joined : tuple of BackbonePart
        The part of each backbone of an embedding of several backbones; empty for one backbone.
    sets : PredictionSets or None
        Gives sets of labels at a coverage; only a model of `fit` has them.
    sketch : TrainingSketch or None
        Sketch of the training images, in which `evaluate` finds their near-duplicates.
    """

    head: Any
    spec: Spec | None
    embedding: str
    info: dict[str, Any]
    outliers: OutlierDetector | None = field(default=None, repr=False)
    digests: NDArray[np.uint8] | None = field(default=None, repr=False)
    joined: tuple[BackbonePart, ...] = ()
    sketch: TrainingSketch | None = field(default=None, repr=False)
    sets: PredictionSets | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """Describe it in one line."""
        classes = some_of(map(shortened, self.classes), MOST_CLASSES)
        return f"<{type(self).__name__}: {self._about()}: {classes}>"

    def _about(self) -> str:
        head = self.info.get("head") or type(self.head).__name__
        images = self.info.get("images")
        fitted = "" if images is None else f", fitted on {counted(images, 'image')}"
        return f"{head} on {self.embedding}{fitted}, {counted(len(self.classes), 'class')}"

    def _repr_html_(self) -> str:
        """Show the classes and the scores of the model in a notebook."""
        info = self.info
        counts = info.get("counts") or {}
        backbones = [part.spec.backbone for part in self.backbones]
        facts = {
            "backbone": " + ".join(backbones),
            "variants of each image": info.get("variants") or None,
            "finds outliers": "no" if self.outliers is None else "yes",
            "weights": "random" if self.weights == "random" else None,
        }
        rows = [(name, counts.get(name)) for name in self.classes[:MOST_ROWS]]
        return result_html(
            type(self).__name__,
            score_table(info.get("scores") or {}),
            *map(text_html, info.get("verdict") or ()),
            *map(text_html, self._point_sentences()),
            table_html(["class", "images"], rows, total=len(self.classes)),
            facts_html(facts),
            about=self._about(),
        )

    def _point_sentences(self) -> list[str]:
        point = self.operating_point
        return [] if point is None else point.sentences(self.classes)

    @property
    def backbones(self) -> tuple[BackbonePart, ...]:
        """The part of each backbone, in the order of the columns. Often there is only one."""
        if self.joined or self.spec is None:
            return self.joined
        return (BackbonePart("", self.spec, self.embedding),)

    @property
    def weights(self) -> str:
        """Weights of the backbones: `random` if one of them has random weights."""
        return weights_of(part.spec.weights for part in self.backbones)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the columns of `predict_proba`."""
        classes: list[str] = self.info["classes"]
        return classes

    @property
    def operating_point(self) -> OperatingPoint | None:
        """The threshold that gives the labels, if the head was fitted with `at`."""
        facts = self.info.get("operating_point")
        return None if facts is None else OperatingPoint.from_dict(facts)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """`classes` as an array, under the name that scikit-learn gives it."""
        return np.array(self.classes)

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probabilities of the classes, of shape (n, k), for embeddings of shape (n, d).

        They are float64, although some heads compute them in float32.

        Raises
        ------
        ModelError
            If the embeddings have another number of columns, or the head is damaged.
        """
        return self._by_head("predict_proba", X).astype(np.float64, copy=False)

    def predict_codes(self, X: NDArray[np.float32]) -> NDArray[np.int_]:
        """Return labels, of shape (n,), for embeddings of shape (n, d), as indices of `classes`.

        A label is the head's own decision. With two classes, it may be the less probable class. If
        the model has an operating point, its threshold gives the labels.

        Raises
        ------
        ModelError
            If the embeddings have another number of columns, or the head is damaged.
        """
        if self.operating_point is not None:
            return self.operating_point.codes(self.predict_proba(X), self.classes)
        labels = self._by_head("predict", X)
        try:
            return codes_of(labels, np.array(self.classes))
        except ValueError as error:
            raise ModelError(
                "the head gives labels that are not classes of the model; fit it again"
            ) from error

    def _by_head(self, method: str, X: NDArray[np.float32]) -> NDArray[Any]:
        try:
            result: NDArray[Any] = getattr(self.head, method)(X)
        except Exception as error:  # a damaged head can raise any error in scikit-learn
            raise ModelError(
                f"the head can't label embeddings of shape {X.shape}: {error}"
            ) from error
        return result

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, and its card to `PATH.md`.

        Existing files are replaced after both new files are complete.

        Raises
        ------
        ParameterError
            If an existing file is not a model, or not a card.
        ModelError
            If the head contains a type that can't be loaded, a fact has the wrong type, or a file
            can't be written.
        """
        card_target, target = check_card_target(path), check_model_target(path)
        facts = {**backbone_facts(self.spec, self.joined, self.embedding), **self.info}
        arrays: dict[str, NDArray[Any]] = {}
        if self.digests is not None:
            arrays["digests"] = self.digests
        if self.outliers is not None:
            facts["outliers"] = self.outliers.facts()
            arrays["sketch"] = self.outliers.sketch
        if self.sets is not None:
            facts["sets"] = self.sets.facts()
            arrays["set_thresholds"] = self.sets.thresholds.probabilities
            arrays["set_misses"] = self.sets.thresholds.misses
        if self.sketch is not None:
            facts["sketched"] = self.sketch.facts()
            arrays["copies"] = self.sketch.values
        check_facts(facts)
        card = render_card(card_path(path).stem, facts)
        write_model(target, model_bytes(self.head, facts, arrays, target), card_target, card)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model from a file. Nothing in the file is executed.

        Raises
        ------
        FormatError
            If the file is not a model file, has a newer version, or is damaged.
        ModelError
            If the file contains a type that is not trusted. The message names the type.
        """
        from tlfeatures.models.outliers import OutlierDetector
        from tlfeatures.models.prediction_sets import PredictionSets
        from tlfeatures.models.training_sketch import TrainingSketch

        head, facts, arrays = read_model(path)
        spec, joined, embedding = pop_backbones(facts)
        try:
            outliers = OutlierDetector.of(facts.pop("outliers", None), arrays.get("sketch"))
            digests = checked_digests(arrays.get("digests"), facts["images"])
            tables = (arrays.get("set_thresholds"), arrays.get("set_misses"))
            sets = PredictionSets.of(facts.pop("sets", None), *tables, facts["classes"])
            sketch = TrainingSketch.of(
                facts.pop("sketched", None),
                arrays.get("copies"),
                facts["images"],
                facts["columns"],
                len(joined) or 1,
            )
        except FormatError as error:
            raise FormatError(f"{path} is a damaged model file: {error}") from error
        return cls(head, spec, embedding, facts, outliers, digests, joined, sketch, sets)


def checked_digests(digests: NDArray[Any] | None, images: int) -> NDArray[np.uint8] | None:
    """Check the type and the number of digests, and return them."""
    if digests is not None and (digests.dtype != np.uint8 or digests.shape != (images, 32)):
        raise FormatError(f"the digests of its {images} images have the shape {digests.shape}")
    return digests
