"""Score a fitted head on labelled images that it wasn't fitted on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.load import check_similarity
from tlfeatures.errors import ModelError, ParameterError
from tlfeatures.features.embed import ComputeOptions, Progress
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.sources.locations import is_url
from tlfeatures.metrics.confusion import Confusion, confusion
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.model_selection.cross_validation import Evaluation
from tlfeatures.model_selection.evaluation_scores import scores_with_intervals
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.unseen_images import (
    ImageEmbedder,
    LabelOptions,
    embeddings_of_file,
    embeddings_of_folder,
)


@dataclass(frozen=True)
class Trial:
    """Scores of a model on labelled images that it wasn't fitted on.

    Attributes
    ----------
    model, source : str
        Their paths as they were given.
    head, embedding, weights : str
    images : int
        Number of labelled images of the source that could be read.
    seen : int
        Number of these that the model was fitted on, by their sha256; they are left out.
    tested : int
        Number of the others.
    classes : list of str
    scores : dict of name to {"score", "interval", "reason"}
        Pooled over the tested images. A score or an interval that is not defined is None, with the
        reason. Balanced accuracy and macro F1 are averages over the classes with tested images.
    confusion : Confusion
    predictions : OutOfFold
        Label and probabilities of every tested image.
    outliers : int or None
        Number of tested images unlike the training images; None if the model has no detector.
    failed : list of {"id", "reason"}
        Images that could not be read.
    """

    model: str
    source: str
    head: str
    embedding: str
    weights: str
    images: int
    seen: int
    tested: int
    classes: list[str]
    scores: dict[str, dict[str, Any]]
    confusion: Confusion
    predictions: OutOfFold = field(repr=False)
    outliers: int | None
    failed: list[dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """Give JSON-ready plain data, without the predictions of single images."""
        plain = ("model", "source", "head", "embedding", "weights", "images", "seen", "tested")
        return {
            **{name: getattr(self, name) for name in plain},
            "classes": self.classes,
            "scores": self.scores,
            "confusion": self.confusion.counts.tolist(),
            "outliers": self.outliers,
            "failed": self.failed,
        }


def evaluate(
    model: FittedHead | str | os.PathLike[str],
    source: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | Mapping[str, str] | None = None,
    groups: str | os.PathLike[str] | None = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    weights: str | None = None,
    device: str = "auto",
    batch_size: int | str = "auto",
    max_pixels: int = MAX_PIXELS,
    random_state: int | None = 0,
    progress: Progress | None = None,
) -> Trial:
    """Score a model on labelled images; images that it was fitted on are left out.

    Parameters
    ----------
    model : Model or path
    source : path or URL
        A folder with one subfolder for each class, or an embeddings file with the model's spec.
    labels, groups, label_level, label_columns, near_duplicates
        See `load_dataset`; images that belong together are resampled together for the intervals.
    weights, device, batch_size, max_pixels
        See `Model.predict`; not needed for an embeddings file.
    random_state : int or None
        Seed of the bootstrap.
    progress : callable (images done, images to do), optional

    Returns
    -------
    Trial

    Raises
    ------
    ModelError
        If the model doesn't know which images it was fitted on.
    DatasetError
        If it was fitted on all of the images, or lacks one of their classes.
    SpecError, ParameterError
        If the embeddings file has other settings, or lacks the embedding.
    SourceError
        If there are no images, or no image can be read.
    """
    loaded = model if isinstance(model, FittedHead) else FittedHead.load(model)
    if loaded.digests is None:
        raise ModelError(
            "the model doesn't say which images it was fitted on, as it was made by an earlier "
            "version: fit it again"
        )
    check_similarity(near_duplicates)
    options = LabelOptions(labels, groups, label_level, label_columns, near_duplicates)
    folder = is_url(source) or Path(source).is_dir()
    if not folder and not Path(source).exists():
        raise ParameterError(
            f"{source} does not exist; expected a folder with one subfolder a class, or a file "
            "that `tlfeatures extract` made"
        )
    if folder:
        compute = ComputeOptions(device, batch_size, max_pixels, weights)
        embed = ImageEmbedder(loaded, compute, progress or _no_progress)
        data, seen, failed = embeddings_of_folder(loaded, source, options, embed)
    else:
        data, seen = embeddings_of_file(loaded, source, options)
        failed = [{"id": image.id, "reason": image.reason} for image in data.unreadable]
    return _score(
        loaded,
        data,
        random_state,
        model="" if isinstance(model, FittedHead) else str(model),
        source=str(source),
        images=len(data.y) + seen,
        seen=seen,
        failed=failed,
    )


def _no_progress(done: int, total: int) -> None:
    pass


def _score(loaded: FittedHead, data: Dataset, seed: int | None, **facts: Any) -> Trial:
    classes = loaded.classes
    table = loaded.predict_proba(data.X)
    codes, predicted = np.searchsorted(classes, data.y), loaded.predict_codes(data.X)
    evaluation = Evaluation(
        split="new",
        classes=np.array(classes),
        fold=np.zeros(len(codes), int),
        predicted=predicted,
        probabilities=table,
        scores={},  # there are no folds: scores are computed over all tested images
        fit_seconds=np.zeros(1),
        test_fraction=len(codes) / loaded.info["images"],
    )
    predictions = OutOfFold(data.ids, classes, codes, predicted, table, evaluation.fold)
    return Trial(
        head=loaded.info["head"],
        embedding=loaded.embedding,
        weights=loaded.spec.weights,
        tested=len(codes),
        classes=classes,
        scores=scores_with_intervals(evaluation, data, seed, classes=classes),
        confusion=confusion(predictions),
        predictions=predictions,
        outliers=None if loaded.outliers is None else int(loaded.outliers.flags(data.X).sum()),
        **facts,
    )
