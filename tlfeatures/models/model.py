"""A fitted head with the spec of its embedding: save, load, predict."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import (
    FormatError,
    ImageError,
    ModelError,
    ParameterError,
    SourceError,
)
from tlfeatures.features.backbones.table import BACKBONES, embedding_widths
from tlfeatures.features.batches import check_batch_size
from tlfeatures.features.combined import join, parts_of
from tlfeatures.features.embed import ComputeOptions, Embedder, EmbeddingRun
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.images.few_levels import warn_of_few_levels
from tlfeatures.features.images.read_ahead import ImageToRead, Key
from tlfeatures.features.sources.folders import find_images, no_images_error
from tlfeatures.features.sources.locations import is_file_at, is_url
from tlfeatures.features.spec import Spec
from tlfeatures.models.card import card_path, check_card_target, render_card
from tlfeatures.models.incoming import in_batches
from tlfeatures.models.model_file import (
    check_facts,
    check_model_target,
    model_bytes,
    read_model,
    write_model,
)
from tlfeatures.names import as_list

if TYPE_CHECKING:
    from tlfeatures.model_selection.fit_warnings import Notices
    from tlfeatures.models.evaluate import Trial
    from tlfeatures.models.outliers import OutlierDetector

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image file.

    Attributes
    ----------
    path : str
    label : str or None
        None where the model abstains, or the image can't be read.
    probabilities : dict of class to float
        Empty where the image can't be read.
    error : str or None
        Why the image can't be read.
    outlier : bool or None
        Whether it is unlike the images that the head was fitted on: farther from the 5th nearest of
        them than the limit; None where it wasn't asked.
    distance : float or None
        To that 5th nearest image, in units of the limit; infinite for an embedding of zeros.
    """

    path: str
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    outlier: bool | None = None
    distance: float | None = None

    @property
    def abstained(self) -> bool:
        """Whether the image could be read and no class is probable enough."""
        return self.label is None and self.error is None


@dataclass(frozen=True, eq=False)
class Model(EqualByValue):
    """A fitted head that knows how its embedding is made.

    Attributes
    ----------
    head : fitted scikit-learn classifier
    spec : Spec
    embedding : str
        `LAYER.POOLING`, or several side by side, `A+B`.
    info : dict
        JSON-ready facts: classes, counts, images, columns, head, versions, and what `fit` adds.
    outliers : OutlierDetector or None
        Tells images unlike those that the head was fitted on.
    digests : ndarray of shape (images, 32), uint8, or None
        sha256 of the image files that the head was fitted on.
    """

    head: Any
    spec: Spec
    embedding: str
    info: dict[str, Any]
    outliers: OutlierDetector | None = field(default=None, repr=False)
    digests: NDArray[np.uint8] | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls,
        head: Any,
        data: Dataset,
        *,
        name: str | None = None,
        facts: Any = None,
        notices: Notices | None = None,
    ) -> Model:
        """Fit a head on all of a dataset.

        Warnings that the fit raises are logged, each once, with the name of the head.

        Parameters
        ----------
        head : scikit-learn classifier
            A clone of it is fitted; what is kept of a linear one are its coefficients.
        data : Dataset
        name : str, optional
            What `info` calls the head; its class if not given.
        facts : dict, optional
            More to be kept in `info`, JSON-ready: parameters, scores, how they were reached.
        notices : Notices, optional
            Has logged warnings before, which are not logged again.

        Raises
        ------
        ModelError
            If the head gives no probabilities.
        """
        if not hasattr(head, "predict_proba"):
            raise ModelError(
                f"{type(head).__name__} has no predict_proba, which a model needs: wrap it in "
                "sklearn.calibration.CalibratedClassifierCV"
            )
        # `info` reads model files by way of this package, and needs no scikit-learn.
        from sklearn.base import clone

        from tlfeatures.heads.coordinate_step import compact
        from tlfeatures.model_selection.trainer import fit_on_all
        from tlfeatures.models.outliers import OutlierDetector

        name = name or type(head).__name__
        head = compact(fit_on_all(clone(head), data, name, notices))
        info = {
            "classes": data.classes,
            "counts": {label: int((data.y == label).sum()) for label in data.classes},
            "images": len(data.y),
            "columns": data.X.shape[1],
            "variants": data.n_variants,
            "head": name,
            **(facts or {}),
            "versions": {
                package: metadata.version(package)
                for package in ("tlfeatures", "scikit-learn", "numpy")
            },
        }
        outliers = OutlierDetector.fit(data.X, data.together)
        return cls(head, data.spec, data.embedding, info, outliers, data.digests)

    @property
    def classes(self) -> list[str]:
        """The classes, in the order of the columns of `predict_proba`."""
        classes: list[str] = self.info["classes"]
        return classes

    # ---- use

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give the probability of each class from embeddings of shape (n, d): shape (n, k).

        Raises
        ------
        ModelError
            If the head can't be used on them: other columns, or a damaged head.
        """
        probabilities: NDArray[np.float64] = self._by_head("predict_proba", X)
        return probabilities

    def predict_codes(self, X: NDArray[np.float32]) -> NDArray[np.int_]:
        """Give the label of each row of X, of shape (n, d), as its place in `classes`: shape (n,).

        It is what the head decides for, which of two classes needn't be the more probable one.

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
            found: NDArray[Any] = getattr(self.head, method)(X)
        except Exception as error:  # a damaged head can fail anywhere in scikit-learn
            raise ModelError(
                f"the head can't label embeddings of shape {X.shape}: {error}"
            ) from error
        return found

    def predict(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        batch_size: int | str = "auto",
        weights: str | None = None,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
        min_confidence: float = 0.0,
        outliers: bool = False,
    ) -> Iterator[Prediction]:
        """Label image files, embedding them exactly as those that the head was fitted on.

        Parameters
        ----------
        inputs : path or URL, or iterable of them
            Image files, and folders to be searched for them.
        batch_size : int or "auto"
        weights : str, optional
            Where the backbone's weights are, if not where they were when the head was fitted.
        device : {"auto", "cpu", "gpu"}
        max_pixels : int
            An image that has more can't be read.
        min_confidence : float, default 0
            Probability below which the model abstains: the label is None.
        outliers : bool, default False
            Whether to flag images unlike those that the head was fitted on.

        Returns
        -------
        iterator of Prediction
            In the order of `inputs`, one for each image, also for those that can't be read.

        Raises
        ------
        WeightsError
            If the weights are not those of the spec.
        SpecError
            If the spec asks for what this version doesn't do.
        ParameterError
            If an input does not exist.
        ModelError
            If outliers are asked for, and the model was made before they could be told.
        """
        images = input_images(inputs)
        options = ComputeOptions(device, batch_size, max_pixels, weights)
        labeller = Labeller(self, options, min_confidence=min_confidence, outliers=outliers)
        return labeller.label(images)

    def predict_stream(
        self,
        paths: Iterable[str],
        *,
        batch_size: int | str = "auto",
        weights: str | None = None,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
        min_confidence: float = 0.0,
        outliers: bool = False,
    ) -> Iterator[Prediction]:
        """Label image files as their paths come in, each as soon as it can be.

        The backbone is loaded before the first path is asked for. A path that waits for no other
        is answered at once; those that came in meanwhile form the next batch.

        Parameters
        ----------
        paths : iterable of str
            Is read in a thread of its own.
        batch_size : int or "auto"
            Largest number of images of a batch.
        weights, device, max_pixels, min_confidence, outliers
            See `predict`.

        Returns
        -------
        iterator of Prediction
            One for each path, in their order; what is no file is an error of its own.
        """
        if isinstance(paths, str | bytes | os.PathLike):
            raise ParameterError(f"expected an iterable of paths, got one: {paths!r}")
        batches = in_batches(paths, check_batch_size(batch_size))
        options = ComputeOptions(device, batch_size, max_pixels, weights)
        labeller = Labeller(self, options, min_confidence=min_confidence, outliers=outliers)
        return (
            prediction
            for batch in batches
            for prediction in labeller.label([_as_place(path) for path in batch])
        )

    def evaluate(self, source: str | os.PathLike[str], **options: Any) -> Trial:
        """Score the model on labelled images that it wasn't fitted on.

        Parameters
        ----------
        source : path
            A folder with one subfolder a class, or an embeddings file.
        **options
            See `tlfeatures.models.evaluate.evaluate`.
        """
        from tlfeatures.models.evaluate import evaluate

        return evaluate(self, source, **options)

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, and its card beside it as `PATH.md`.

        What is there is replaced only once both new files are whole.

        Raises
        ------
        ParameterError
            If one of the two would replace what is no model, or no card.
        ModelError
            If the head holds a type that loading would refuse, a fact is of another kind than a
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
    def load(cls, path: str | os.PathLike[str]) -> Model:
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
    """Refuse digests that are none, or not those of the images."""
    if digests is not None and (digests.dtype != np.uint8 or digests.shape != (images, 32)):
        raise FormatError(f"the digests of its {images} images have the shape {digests.shape}")
    return digests


class Labeller:
    """A model with its backbone loaded, ready for images.

    Parameters
    ----------
    model : Model
    options : ComputeOptions
    min_confidence, outliers
        See `Model.predict`.
    """

    def __init__(
        self,
        model: Model,
        options: ComputeOptions,
        *,
        min_confidence: float = 0.0,
        outliers: bool = False,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise ParameterError(
                f"min_confidence is {min_confidence}; expected a probability from 0 to 1"
            )
        if outliers and model.outliers is None:
            raise ModelError(
                "this model can't tell outliers: it was made before models could, or from too few "
                "images; fit it again"
            )
        check_width(model)
        self._model = model
        self._detector = model.outliers if outliers else None
        self._min_confidence = min_confidence
        # Predictions need no last bits: Keras computes where the engine is not installed.
        spec, options = replace(model.spec, augmentation=None), replace(options, substitute=True)
        self._embedder = Embedder(spec, parts_of(model.embedding), options)
        self._embedder.load()

    def run(
        self,
        files: Sequence[tuple[Key, str | Path]],
        progress: Callable[[int], None] | None = None,
    ) -> EmbeddingRun[Key]:
        """Start to embed image files; see `Embedder.run`."""
        images = (ImageToRead(key, path) for key, path in files)
        return self._embedder.run(images, len(files), progress=progress)

    def embed(self, run: EmbeddingRun[Key]) -> Iterator[tuple[list[Key], NDArray[np.float32]]]:
        """Give the keys and the columns of the model's embedding, batch by batch."""
        for batch in run.batches():
            images = {name: value[:, 0] for name, value in batch.values.items()}
            yield batch.keys, join(images, self._model.embedding)

    def label(self, paths: Sequence[str | Path]) -> Iterator[Prediction]:
        """Label image files: one prediction each, in their order."""
        run = self.run(list(enumerate(paths)))
        given = 0
        try:
            for numbers, X in self.embed(run):
                predictions = self._predictions([paths[number] for number in numbers], X)
                labelled = dict(zip(numbers, predictions, strict=True))
                errors = dict(run.failures)  # of every image before the last one of this batch
                for number in range(given, numbers[-1] + 1):
                    yield labelled.get(number) or _unread(paths[number], errors[number])
                given = numbers[-1] + 1
            for number, error in run.failures:
                if number >= given:
                    yield _unread(paths[number], error)
        finally:
            warn_of_few_levels_in(run, paths)

    def _predictions(
        self, paths: Sequence[str | Path], X: NDArray[np.float32]
    ) -> Iterator[Prediction]:
        classes = self._model.classes
        distances: Sequence[float | None] = [None] * len(paths)
        if self._detector is not None:
            distances = (self._detector.distances(X) / self._detector.threshold).tolist()
        table, codes = self._model.predict_proba(X), self._model.predict_codes(X)
        for path, row, code, distance in zip(paths, table, codes, distances, strict=True):
            yield Prediction(
                str(path),
                classes[code] if row[code] >= self._min_confidence else None,
                dict(zip(classes, row.tolist(), strict=True)),
                outlier=None if distance is None else distance > 1,
                distance=distance,
            )


def _unread(path: str | Path, error: ImageError) -> Prediction:
    return Prediction(str(path), error=str(error))


def warn_of_few_levels_in(run: EmbeddingRun[int], paths: Sequence[str | Path]) -> None:
    """Name the images of a run that have few grey levels; their keys are positions in `paths`."""
    few_levels = [(str(paths[number]), few) for number, few in run.few_levels]
    warn_of_few_levels(few_levels, "tlfeatures extract --value-range {}")


def check_width(model: Model) -> None:
    """Refuse a model whose embedding the backbones here don't give, or not as wide.

    Raises
    ------
    ModelError
        The file is intact, where it was made by another version with other backbones or layers.
    """
    name = model.spec.backbone
    if name not in BACKBONES:
        raise ModelError(
            f"the model needs the backbone {name!r}, which this tlfeatures doesn't have (there "
            f"are: {', '.join(BACKBONES)}); use the version that made it, or extract and fit again"
        )
    try:
        parts = parts_of(model.embedding)
        widths = embedding_widths(name, parts, [], model.spec.size)
    except ParameterError as error:
        raise ModelError(
            f"the model needs the embedding {model.embedding!r} of {name}, which this tlfeatures "
            f"doesn't give: {error}; use the version that made it, or extract and fit again"
        ) from error
    if list(widths) != parts or sum(widths.values()) != model.info["columns"]:
        raise ModelError(
            f"the head takes {model.info['columns']} columns of {model.embedding}, the backbone "
            f"gives {widths}: the model file is damaged; fit it again"
        )


def input_images(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[str | Path]:
    """List image files, and those in folders and at URLs, in the order in which they are given.

    Raises
    ------
    ParameterError
        If one of them does not exist.
    SourceError
        If there is none.
    """
    items = as_list(inputs)
    found = [_expand(_as_place(item)) for item in items]
    if not items:
        raise SourceError("there is no image among what was given; expected files or folders")
    empty = [item for item, images in zip(items, found, strict=True) if not images]
    if len(empty) == len(items):
        raise no_images_error(items[0], "expected files or folders of images")
    for item in empty:
        logger.warning("%s", no_images_error(item, "expected files or folders of images"))
    return [image for images in found for image in images]


def _as_place(item: str | os.PathLike[str]) -> str | Path:
    """Give a URL as it is: a `Path` would make one slash of two."""
    return item if isinstance(item, str) and is_url(item) else Path(item)


def _expand(path: str | Path) -> list[str | Path]:
    if isinstance(path, str):
        return [path] if is_file_at(path) else [image.location for image in find_images(path)]
    if path.is_dir():
        return [image.path for image in find_images(path)]
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise ParameterError(f"{path} {what}; expected an image or a folder of images")
    return [path]
