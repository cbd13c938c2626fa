"""The function `evaluate`: scores of a model on labelled images that it wasn't fitted on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity, check_similarity
from tlfeatures.dataset.labels import Groups, Labels, is_table
from tlfeatures.errors import ModelError, ParameterError
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.file.reader import is_embeddings_file
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.sources.open_source import Location, Locations, open_source
from tlfeatures.html_tables import Cell
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.score_records import score_record
from tlfeatures.metrics.scores import codes_of
from tlfeatures.model_selection.evaluation import Evaluation
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.operating_point import OperatingPoint
from tlfeatures.models.prediction_sets import quality_facts, sets_text
from tlfeatures.models.unseen_images import (
    ImageEmbedder,
    LabelOptions,
    LeftOut,
    embeddings_of_dataset,
    embeddings_of_source,
)
from tlfeatures.names import counted, shortened, some_of
from tlfeatures.progress import Progress

_NAMED, _LONGEST = 5, 100  # near-duplicates in a sentence, and characters of an id


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ModelEvaluation(Evaluation):
    """The evaluation of a model on labelled images that it wasn't fitted on.

    Attributes
    ----------
    head, embedding, split, classes, ids, y, fold, predicted, probabilities, scores, groups
        See `Evaluation`. `split` is `new`, and every image is tested. Balanced accuracy and macro
        F1 are means over the classes that have tested images.
    model, source : str
        Paths of the model file (empty for a `Model` object) and of the images.
    weights : str
        Weights of the backbone.
    images : int
        Number of labelled images of the source that could be read.
    seen : int
        Number of these images that the model was fitted on, according to their sha256. They are
        left out.
    nearly_seen : tuple of str, or None
        Ids of images that are near-duplicates of images that the model was fitted on, for example
        resized copies. They are left out. None if near-duplicates were not searched.
    not_searched : str or None
        Why near-duplicates were not searched, so that such copies may be among the tested images;
        None if they were searched.
    outliers : int or None
        Number of tested images that are outliers; None if the model has no detector.
    sets : dict or None
        Prediction sets of the tested images: `level` (the coverage to expect for images like the
        training images), `coverage`, `mean_size`, `single` (share of sets with one label) and
        `by_class`. None if the model has no sets at this level.
    failed : list of {"id", "reason"}
        Images that could not be read.
    operating_point : OperatingPoint or None
        The model's operating point, with the scores of the tested images; None if it has none.
    """

    model: str
    source: str
    weights: str
    images: int
    seen: int
    nearly_seen: tuple[str, ...] | None
    outliers: int | None
    sets: dict[str, Any] | None
    failed: list[dict[str, str]]
    operating_point: OperatingPoint | None = None
    not_searched: str | None = None

    def _facts(self) -> dict[str, Cell]:
        point = self.operating_point
        return {
            "model": self.model,
            "source": self.source,
            "tested": counted(self.tested, "image"),
            "left out": left_out_words(self.seen, self.nearly_seen),
            "copies": not_searched_words(self.not_searched),
            "outliers": self.outliers,
            "prediction sets": None if self.sets is None else sets_text(self.sets),
            "unreadable": len(self.failed) or None,
            "weights": "random" if self.weights == "random" else None,
            "operating point": None if point is None else point.line(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data, without the predictions of single images."""
        point = self.operating_point
        return {
            **super().to_dict(),
            "model": self.model,
            "source": self.source,
            "weights": self.weights,
            "images": self.images,
            "seen": self.seen,
            "nearly_seen": None if self.nearly_seen is None else list(self.nearly_seen),
            "not_searched": self.not_searched,
            "outliers": self.outliers,
            "sets": self.sets,
            "failed": self.failed,
            "operating_point": None if point is None else point.to_dict(),
        }


def not_searched_words(reason: str | None) -> str | None:
    """Say that resaved copies of training images were not searched, and why; None if they were."""
    if reason is None:
        return None
    return (
        "only files with the same bytes were left out; resaved or resized copies of training "
        f"images were not searched: {reason}"
    )


def left_out_words(seen: int, nearly_seen: tuple[str, ...] | None) -> str | None:
    """Say how many images were left out, and name the near-duplicates; None if there are none.

    Parameters
    ----------
    seen : int
    nearly_seen : tuple of str, or None
        See `ModelEvaluation`.
    """
    parts = [f"{counted(seen, 'image')} that the model was fitted on"] if seen else []
    if nearly_seen:
        of = "near-duplicates" if len(nearly_seen) > 1 else "near-duplicate"
        whose = "them" if seen else "images that the model was fitted on"
        named = some_of((shortened(id_, _LONGEST) for id_ in nearly_seen), _NAMED)
        parts.append(f"{len(nearly_seen):,} {of} of {whose}: {named}")
    return ", and ".join(parts) or None


def evaluate(
    model: FittedHead | str | os.PathLike[str],
    source: Locations | Dataset,
    *,
    images: Location | None = None,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    weights: str | None = None,
    device: str = "auto",
    batch_size: int | str = "auto",
    max_pixels: int = MAX_PIXELS,
    random_state: int | None = 0,
    progress: bool | Progress | None = None,
) -> ModelEvaluation:
    """Score a model on labelled images. Images that it was fitted on are left out.

    Near-duplicates of these images, for example resized copies, are left out as well. They are
    those that `load_dataset` would call copies.

    Parameters
    ----------
    model : Model or path
        A model, or a model file.
    source : path, URL, sequence of them, or Dataset
        A folder with one subfolder for each class or other sources of labelled images (see
        docs/sources.md), an embeddings file with the model's spec, or a dataset of its embeddings.
        Of a dataset without sha256 of its images, no image is left out, and a warning is logged.
    images : path or URL, optional
        Folder that the paths in a table are relative to. The table's own folder if not given.
    labels, groups, label_level, columns, near_duplicates
        See `load_dataset`; not for a dataset, which has its own limit of near-duplicates. For the
        intervals, images that belong together are drawn together. With `near_duplicates=None`,
        only images with the same sha256 as a training image are left out.
    weights, device, batch_size, max_pixels
        See `Model.predict`. They are needed for images only.
    random_state : int or None
        Seed of the bootstrap.
    progress : bool or callable of (done, total), optional
        Counts images. See `extract`.

    Returns
    -------
    ModelEvaluation

    Raises
    ------
    ModelError
        If the model has no list of the images that it was fitted on.
    DatasetError
        If the model was fitted on all of the images or near-duplicates of them, or does not have
        one of their classes.
    SpecError, ParameterError
        If the embeddings file has other settings, or does not have the embedding.
    SourceError
        If there are no images, or no image can be read.
    """
    loaded = model if isinstance(model, FittedHead) else FittedHead.load(model)
    check_similarity(near_duplicates)
    options = LabelOptions(labels, groups, label_level, columns, near_duplicates)
    if not isinstance(source, Dataset):
        _check_digests(loaded)
    if isinstance(source, Dataset) or _is_embeddings_file(source):
        if images is not None:
            raise ParameterError("images is the folder of a table of images; leave it out")
        data, left_out = embeddings_of_dataset(loaded, source, options)
        failed = [{"id": image.id, "reason": image.reason} for image in data.unreadable]
        location = data.file
    else:
        compute = ComputeOptions(device, batch_size, max_pixels, weights)
        embed = ImageEmbedder(loaded, compute, progress)
        of_file = isinstance(groups, str | os.PathLike) and is_table(groups)
        of_source = labels is None and not of_file  # then the columns are those of the source
        opened = open_source(
            source, images=images, columns=columns if of_source else None, expected=_EXPECTED
        )
        options = replace(options, columns=None) if of_source else options
        data, left_out, failed = embeddings_of_source(loaded, opened, options, embed)
        location = opened.location
    return _evaluation_of(
        loaded,
        data,
        random_state,
        model="" if isinstance(model, FittedHead) else str(model),
        source=location,
        left_out=left_out,
        failed=failed,
    )


def _is_embeddings_file(source: Locations) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(source, str | os.PathLike) and is_embeddings_file(source)


def _check_digests(model: FittedHead) -> None:
    if model.digests is None:
        raise ModelError(
            "the model doesn't record which images it was fitted on, because its Dataset had no "
            "digests: fit it on a dataset that load_dataset has loaded"
        )


_EXPECTED = (
    "expected a folder with one subfolder per class, or a file that `tlfeatures extract` made"
)


def _evaluation_of(
    loaded: FittedHead,
    data: Dataset,
    seed: int | None,
    *,
    model: str,
    source: str,
    left_out: LeftOut,
    failed: list[dict[str, str]],
) -> ModelEvaluation:
    predicted, table = loaded.predict_codes(data.X), loaded.predict_proba(data.X)
    point, truth = loaded.operating_point, codes_of(data.y, np.array(loaded.classes))
    every = np.ones(len(data.y), bool)
    scorer = BootstrapScorer.of(
        data.y, data.together, every, loaded.classes, seed, groups=data.groups
    )
    pooled = scorer.score([HeadPredictions(predicted, table)])
    return ModelEvaluation(
        head=loaded.info["head"],
        embedding=loaded.embedding,
        split="new",
        classes=np.array(loaded.classes),
        ids=data.ids,
        y=data.y,
        fold=np.zeros(len(data.y), int),
        predicted=predicted,
        probabilities=table,
        scores={name: score_record([own["score"]], own) for name, own in pooled.items()},
        groups=data.groups,
        model=model,
        source=source,
        weights=loaded.weights,
        images=len(data.y) + left_out.seen + len(left_out.near_duplicates or ()),
        seen=left_out.seen,
        nearly_seen=left_out.near_duplicates,
        not_searched=left_out.not_searched,
        outliers=None if loaded.outliers is None else int(loaded.outliers.flags(data.X).sum()),
        sets=_measured_sets(loaded, data, predicted, table),
        failed=failed,
        operating_point=point and point.scored_on(truth, predicted, loaded.classes, data.together),
    )


def _measured_sets(
    model: FittedHead, data: Dataset, predicted: NDArray[np.int_], table: NDArray[np.float64]
) -> dict[str, Any] | None:
    if model.sets is None:
        return None
    quality = model.sets.measure(table, predicted, codes_of(data.y, np.array(model.classes)))
    return None if quality is None else quality_facts(quality, model.classes)
