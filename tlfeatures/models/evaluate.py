"""What the command `evaluate` does: a model's scores on labelled images that it has not seen."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.labelled import label_images
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import check_similarity, load_dataset
from tlfeatures.errors import (
    DatasetError,
    ImageError,
    ModelError,
    ParameterError,
    SourceError,
    SpecError,
)
from tlfeatures.features.embed import ComputeOptions, Progress
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.images.identify import scan
from tlfeatures.features.sources.folders import no_images_error
from tlfeatures.features.sources.locations import is_url
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.metrics.confusion import Confusion, confusion
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.model_selection.cross_validation import Evaluation
from tlfeatures.model_selection.evaluation_scores import scores_with_intervals
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.labelling import Labeller, warn_of_few_levels_in


@dataclass(frozen=True)
class Trial:
    """How a model did on labelled images.

    Attributes
    ----------
    model, source : str
        The files, as they were named.
    head, embedding, weights : str
    images : int
        Labelled images of the source that could be read.
    seen : int
        Of these, the ones that the model was fitted on, told by their sha256: left out.
    tested : int
        The others.
    classes : list of str
    scores : dict of name to {"score", "interval", "reason"}
        Pooled over the tested images; None where a score or its interval is not defined, and then
        the reason in words. Balanced accuracy and macro F1 are averages over the classes that have
        tested images.
    confusion : Confusion
    predictions : OutOfFold
        Label and probabilities of every tested image.
    outliers : int or None
        Tested images unlike those that the model was fitted on; None where it can't tell.
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
        """Give it as JSON-ready plain data, without the single predictions."""
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
    """Score a model on labelled images; those that it was fitted on are left out.

    Parameters
    ----------
    model : Model or path
    source : path or URL
        A folder with one subfolder a class, or the path of an embeddings file of the model's own
        spec.
    labels, groups, label_level, label_columns, near_duplicates
        See `load_dataset`; images that belong together are resampled together for the intervals.
    weights, device, batch_size, max_pixels
        See `Model.predict`; not needed for an embeddings file.
    random_state : int or None
        Of the bootstrap.
    progress : callable (images done, images to do), optional

    Returns
    -------
    Trial

    Raises
    ------
    ModelError
        If the model doesn't say which images it was fitted on.
    DatasetError
        If it has seen all of the images, or doesn't know a class of theirs.
    SpecError, ParameterError
        If the embeddings file was made with other settings, or lacks the embedding.
    SourceError
        If there are no images, or none that can be read.
    """
    loaded = model if isinstance(model, FittedHead) else FittedHead.load(model)
    if loaded.digests is None:
        raise ModelError(
            "the model doesn't say which images it was fitted on, as it was made by an earlier "
            "version: fit it again"
        )
    check_similarity(near_duplicates)
    given = _Given(labels, groups, label_level, label_columns, near_duplicates)
    folder = is_url(source) or Path(source).is_dir()
    if not folder and not Path(source).exists():
        raise ParameterError(
            f"{source} does not exist; expected a folder with one subfolder a class, or a file "
            "that `tlfeatures extract` made"
        )
    if folder:
        options = ComputeOptions(device, batch_size, max_pixels, weights)
        embed = _Embed(loaded, options, progress or _no_progress)
        data, seen, failed = _from_folder(loaded, source, given, embed)
    else:
        data, seen = _from_file(loaded, source, given)
        failed = [{"id": each.id, "reason": each.reason} for each in data.unreadable]
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


# ---- labelled embeddings


@dataclass(frozen=True)
class _Given:
    """What `evaluate` was told of the labels."""

    labels: Labels
    groups: Groups
    label_level: int | None
    label_columns: Mapping[str, str] | None
    near_duplicates: Similarity


def _from_file(
    model: FittedHead, file: str | os.PathLike[str], given: _Given
) -> tuple[Dataset, int]:
    """Embeddings of unseen images, and the number of those that were seen."""
    data = load_dataset(
        file,
        model.embedding,
        given.labels,
        groups=given.groups,
        label_level=given.label_level,
        label_columns=given.label_columns,
        near_duplicates=given.near_duplicates,
        variants=0,
    )
    data = replace(data, y=_as_the_model_writes(model, data.y))
    # Engines differ by rounding; in int8 by more, and there is but one.
    differences = [each for each in data.spec.differences(model.spec) if each[0] != "engine"]
    if differences:
        name, theirs, ours = differences[0]
        if name == "quantization":
            theirs, ours = "of other images", "that of its own"
        raise SpecError(
            f"{file} was made with {name} {theirs}, the model's images with {ours}: evaluate on "
            "the folder of images itself"
        )
    _check_classes(model, data.y, file)
    assert data.digests is not None  # every file has them
    new = _unseen(model, [row.tobytes() for row in data.digests], file)
    return data.take(np.flatnonzero(new)), int((~new).sum())


def _from_folder(
    model: FittedHead, folder: str | os.PathLike[str], given: _Given, embed: _Embed
) -> tuple[Dataset, int, list[dict[str, str]]]:
    """The same, and the images that can't be read; what can be wrong is found before the work."""
    manifest = scan(folder)
    if not manifest.images:
        raise no_images_error(folder)
    labelled = label_images(
        manifest.ids,
        str(folder),
        given.labels,
        given.groups,
        label_level=given.label_level,
        label_columns=given.label_columns,
    )
    labelled = replace(labelled, y=_as_the_model_writes(model, labelled.y))
    _check_classes(model, labelled.y, folder)
    new = _unseen(model, [manifest.digests[row] for row in labelled.rows], folder)
    wanted = labelled.take(new)
    X, errors = embed(wanted.rows.tolist(), [image.location for image in manifest.images])
    failed = [{"id": manifest.images[row].id, "reason": str(why)} for row, why in errors]
    read = wanted.take(~np.isin(wanted.rows, [row for row, _ in errors]))
    if not len(read.rows):
        seen = int((~new).sum())
        used = f"; the model was fitted on the other {seen:,}" if seen else ""
        raise SourceError(
            f"{len(failed):,} images of {folder} can't be read, {failed[0]['id']} first "
            f"({failed[0]['reason']}){used}: give images that it has not seen"
        )
    digests = np.frombuffer(b"".join(manifest.digests[row] for row in read.rows), np.uint8)
    data = replace(read, rows=np.arange(len(read.rows))).with_embeddings(
        X,
        digests.reshape(len(X), -1),
        embedding=model.embedding,
        spec=model.spec,
        near_duplicates=given.near_duplicates,
    )
    return data, int((~new).sum()), failed


def _as_the_model_writes(model: FittedHead, y: NDArray[np.str_]) -> NDArray[np.str_]:
    """Give the labels as the model writes its classes, which may be in another Unicode form."""
    by_form: defaultdict[str, list[str]] = defaultdict(list)
    for name in model.classes:
        by_form[normalize_name(name)].append(name)
    written = {}
    for label in set(y.tolist()):
        names = by_form.get(normalize_name(label), [label])
        if len(names) > 1:
            raise DatasetError(
                f"the model has {len(names)} classes {label!r}, which differ by Unicode form or "
                "blanks alone: fit it again on classes that can be told apart"
            )
        written[label] = names[0]
    return np.array([written[label] for label in y.tolist()])


def _check_classes(model: FittedHead, y: NDArray[np.str_], source: str | os.PathLike[str]) -> None:
    unknown = Counter(y[~np.isin(y, model.classes)].tolist())
    if unknown:
        name, count = unknown.most_common(1)[0]
        raise DatasetError(
            f"{source} has {count} images of {name!r}, which is no class of the model "
            f"({', '.join(model.classes)}); leave them out, or rename their class with --labels"
        )


def _unseen(
    model: FittedHead, digests: list[bytes], source: str | os.PathLike[str]
) -> NDArray[np.bool_]:
    """Which of the images the model was not fitted on, by their bytes."""
    assert model.digests is not None  # asked before
    known = {row.tobytes() for row in model.digests}
    new = np.array([digest not in known for digest in digests], bool)
    if not new.any():
        raise DatasetError(
            f"the model was fitted on all {len(new)} images of {source} that have a label; give "
            "images that it has not seen"
        )
    return new


@dataclass(frozen=True)
class _Embed:
    """How image files are embedded for a model."""

    model: FittedHead
    options: ComputeOptions
    progress: Progress

    def __call__(
        self, rows: list[int], paths: list[str]
    ) -> tuple[NDArray[np.float32], list[tuple[int, ImageError]]]:
        """Embed the images at these rows; give also the rows that cannot be read."""
        labeller = Labeller(self.model, self.options)
        run = labeller.run(
            [(row, paths[row]) for row in rows], lambda done: self.progress(done, len(rows))
        )
        X = np.empty((len(rows), self.model.info["columns"]), np.float32)
        done = 0
        for keys, part in labeller.embed(run):
            X[done : done + len(keys)] = part
            done += len(keys)
        warn_of_few_levels_in(run, paths)
        return X[:done], run.failures


# ---- scores


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
        scores={},  # those over all tested images are wanted, not over folds
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
