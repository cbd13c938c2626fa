"""Embeddings of unseen labelled images, which a head wasn't fitted on, from a folder or a file."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity, least_similarity
from tlfeatures.dataset.labelled import Labelled, label_images, labels_or_stated
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import as_dataset
from tlfeatures.errors import DatasetError, ImageError, ParameterError, SourceError, SpecError
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.images.few_levels import warn_of_few_levels
from tlfeatures.features.images.identify import scan
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.sources.folders import EXPECTED
from tlfeatures.features.sources.open_source import labels_of_images
from tlfeatures.features.sources.protocol import Source
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.models.backbone_facts import check_same_settings
from tlfeatures.models.embedding_run import ModelEmbedder, ModelRun, check_width, widths_of
from tlfeatures.models.feature_input import check_columns_of
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.labelling import VALUE_RANGE
from tlfeatures.names import counted, shortened, some_of
from tlfeatures.progress import Progress, shown_progress

_NAMED, _LONGEST = 30, 100  # classes in a message, and characters of a name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelOptions:
    """Options of `load_dataset` for labels and groups."""

    labels: Labels
    groups: Groups
    label_level: int | None
    columns: Mapping[str, str] | None
    near_duplicates: Similarity


@dataclass(frozen=True)
class LeftOut:
    """Images that are left out, because a model knows them.

    Attributes
    ----------
    seen : int
        Number of images that the model was fitted on.
    near_duplicates : tuple of str, or None
        Ids of near-duplicates of images that the model was fitted on. None if they were not
        searched.
    not_searched : str or None
        Why near-duplicates were not searched; None if they were.
    """

    seen: int
    near_duplicates: tuple[str, ...] | None
    not_searched: str | None = None


@dataclass(frozen=True)
class ImageEmbedder:
    """Embeds image files for a model."""

    model: FittedHead
    options: ComputeOptions
    progress: bool | Progress | None

    def __call__(
        self, rows: list[int], images: list[ImageRecord]
    ) -> tuple[NDArray[np.float32], list[tuple[int, ImageError]]]:
        """Return the embeddings of images, and the rows and errors of images that can't be read."""
        embedder = ModelEmbedder(self.model, self.options)
        X = np.empty((len(rows), self.model.info["columns"]), np.float32)
        done = 0
        with shown_progress(self.progress, "embedding", "images") as show:
            run = ModelRun(
                embedder,
                [ImageToRead.of(row, images[row]) for row in rows],
                lambda done: show(done, len(rows)),
            )
            for keys, part in run.batches():
                X[done : done + len(keys)] = part
                done += len(keys)
        few_levels = [(images[row].id, levels) for row, levels in run.few_levels]
        warn_of_few_levels(few_levels, VALUE_RANGE)
        return X[:done], run.failures


def embeddings_of_dataset(
    model: FittedHead, given: str | os.PathLike[str] | Dataset, options: LabelOptions
) -> tuple[Dataset, LeftOut]:
    """Return the unseen images of an embeddings file or a dataset, and those that were left out.

    Parameters
    ----------
    model : FittedHead
    given : path or Dataset
        An embeddings file, or a dataset.
    options : LabelOptions
        They apply to a file, not to a dataset.
    """
    is_dataset = isinstance(given, Dataset)
    if model.spec is None and not is_dataset:
        raise SpecError(
            f"the model's embedding is joined over several backbones ({model.embedding}), which "
            f"{given} can't have; give the folder of images instead of the file"
        )
    data = as_dataset(
        given,
        embedding=None if is_dataset else model.embedding,
        variants=None if is_dataset else 0,
        **vars(options),
    )
    if data.embedding != model.embedding:
        raise ParameterError(
            f"the Dataset has the embedding {data.embedding}, but the model needs "
            f"{model.embedding}; load the dataset with this embedding"
        )
    remedy = f"give the images instead of the {'Dataset' if is_dataset else 'file'}"
    for part, own in zip(data.parts, model.backbones, strict=True):
        check_same_settings(part.spec, own.spec, data.file, remedy)
    check_columns_of(model, data.X, data.file)
    data = replace(data, y=spelled_like_classes(model, data.y), variants=None, looks=None)
    _check_classes(model, data.y, data.file)
    if data.digests is None or model.digests is None:
        logger.warning(
            "the model may have been fitted on some of these images, because the %s has no sha256 "
            "of its images",
            "Dataset" if data.digests is None else "model",
        )
        seen = 0
    else:
        new = _unseen(model, [row.tobytes() for row in data.digests], data.file)
        data, seen = data.take(np.flatnonzero(new)), int((~new).sum())
    thresholds = [part.near_duplicates for part in data.parts]
    known = _near_duplicates(model, data.X, thresholds)
    why = _why_not_searched(model, options.near_duplicates, is_dataset=is_dataset)
    left_out = _left_out(LeftOut(seen, None, why), data.ids, known, data.file)
    return data if known is None else data.take(np.flatnonzero(~known)), left_out


def embeddings_of_source(
    model: FittedHead, source: Source, options: LabelOptions, embed: ImageEmbedder
) -> tuple[Dataset, LeftOut, list[dict[str, str]]]:
    """Embed the unseen images of a source.

    Returns
    -------
    data : Dataset
        The unseen images.
    left_out : LeftOut
    failed : list of {"id", "reason"}
        Images that could not be read.
    """
    check_width(model)  # before the images are hashed
    manifest = scan(source)
    if not manifest.images:
        raise source.no_images_error(EXPECTED)
    folder = source.location
    labels, label_level = labels_or_stated(
        options.labels, options.label_level, lambda: labels_of_images(source, manifest.ids)
    )
    labelled = label_images(
        manifest.ids,
        folder,
        labels,
        options.groups,
        label_level=label_level,
        columns=options.columns,
    )
    labelled = replace(labelled, y=spelled_like_classes(model, labelled.y))
    _check_classes(model, labelled.y, folder)
    new = _unseen(model, [manifest.digests[row] for row in labelled.rows], folder)
    seen = int((~new).sum())
    unseen = labelled.take(new)
    X, errors = embed(unseen.rows.tolist(), manifest.images)
    failed = [{"id": manifest.images[row].id, "reason": str(why)} for row, why in errors]
    read = unseen.take(~np.isin(unseen.rows, [row for row, _ in errors]))
    if not len(read.rows):
        used = f"; the model was fitted on the other {seen:,}" if seen else ""
        raise SourceError(
            f"{len(failed):,} images of {folder} can't be read, such as {failed[0]['id']} "
            f"({failed[0]['reason']}){used}; give images that the model was not fitted on"
        )
    thresholds = [least_similarity(options.near_duplicates, part.spec) for part in model.backbones]
    known = _near_duplicates(model, X, thresholds)
    why = _why_not_searched(model, options.near_duplicates)
    left_out = _left_out(LeftOut(seen, None, why), read.ids, known, folder)
    if known is not None:
        X, read = X[~known], read.take(~known)
    digests = np.frombuffer(b"".join(manifest.digests[row] for row in read.rows), np.uint8)
    read = replace(read, rows=np.arange(len(read.rows)))
    data = _dataset(model, read, X, digests.reshape(len(X), -1), options.near_duplicates)
    return data, left_out, failed


def _dataset(
    model: FittedHead,
    images: Labelled,
    X: NDArray[np.float32],
    digests: NDArray[np.uint8],
    near_duplicates: Similarity,
) -> Dataset:
    """Create the dataset of embedded images. Copies are searched with each of the backbones."""
    ends = np.cumsum(widths_of(model.backbones))
    blocks = np.split(X, ends[:-1], axis=1)
    datasets = [
        images.with_embeddings(
            block,
            digests,
            embedding=part.embedding,
            spec=part.spec,
            near_duplicates=near_duplicates,
        )
        for block, part in zip(blocks, model.backbones, strict=True)
    ]
    if len(datasets) == 1:
        return datasets[0]
    return replace(
        datasets[0],
        X=X,
        copies=np.unique(np.concatenate([data.copies for data in datasets]), axis=0),
        embedding=model.embedding,
        spec=None,
        near_duplicates=None,
        joined=tuple(
            replace(data.parts[0], name=part.name)
            for data, part in zip(datasets, model.backbones, strict=True)
        ),
    )


def spelled_like_classes(model: FittedHead, y: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return labels in the Unicode form of the model's classes."""
    by_form: defaultdict[str, list[str]] = defaultdict(list)
    for name in model.classes:
        by_form[normalize_name(name)].append(name)
    spelling = {}
    for label in set(y.tolist()):
        names = by_form.get(normalize_name(label), [label])
        if len(names) > 1:
            raise DatasetError(
                f"the model has {len(names)} classes {label!r}, which differ only in Unicode form "
                "or blanks; fit it again on classes with different names"
            )
        spelling[label] = names[0]
    return np.array([spelling[label] for label in y.tolist()])


def _check_classes(model: FittedHead, y: NDArray[np.str_], source: str | os.PathLike[str]) -> None:
    unknown = Counter(y[~np.isin(y, model.classes)].tolist())
    if unknown:
        name, count = unknown.most_common(1)[0]
        raise DatasetError(
            f"{source} has {counted(count, 'image')} of {shortened(name, _LONGEST)!r}, which is "
            f"not a class of the model ({some_of(map(shortened, model.classes), _NAMED)}); leave "
            "them out, or rename their class with --labels"
        )


def _unseen(
    model: FittedHead, digests: list[bytes], source: str | os.PathLike[str]
) -> NDArray[np.bool_]:
    """Return whether each image is unseen: its sha256 is not among those of the model."""
    assert model.digests is not None  # `evaluate` has checked it
    seen = {row.tobytes() for row in model.digests}
    new = np.array([digest not in seen for digest in digests], bool)
    if not new.any():
        raise DatasetError(
            f"the model was fitted on all {len(new)} labelled images of {source}; give images that "
            "the model was not fitted on"
        )
    return new


def _near_duplicates(
    model: FittedHead, X: NDArray[np.float32], thresholds: list[float | None]
) -> NDArray[np.bool_] | None:
    """Return whether each image is a near-duplicate of a training image; None if not searched."""
    return None if model.sketch is None else model.sketch.finds(X, thresholds)


def _left_out(
    unsearched: LeftOut,
    ids: NDArray[np.str_],
    known: NDArray[np.bool_] | None,
    source: str | os.PathLike[str],
) -> LeftOut:
    """Return what is left out; an error if nothing remains.

    Parameters
    ----------
    unsearched : LeftOut
        What is left out if near-duplicates were not searched.
    ids : ndarray of shape (m,), str
        Ids of the images that the model was not fitted on.
    known : ndarray of shape (m,), bool, or None
        Result of `_near_duplicates`.
    source : path
        Where the images are.
    """
    if known is None:
        return unsearched
    seen = unsearched.seen
    if known.all():
        of_them = f"fitted on {seen:,} of them, and " if seen else ""
        raise DatasetError(
            f"the model knows all {seen + len(ids):,} labelled images of {source}: it was {of_them}"
            f"fitted on near-duplicates of {len(ids):,}, such as {ids[0]}; give images that the "
            "model was not fitted on, or --near-duplicates off to test near-duplicates"
        )
    return LeftOut(seen, tuple(ids[known].tolist()))


def _why_not_searched(
    model: FittedHead, near_duplicates: Similarity, *, is_dataset: bool = False
) -> str:
    """Say why near-duplicates of training images are not searched, if they are not."""
    if model.sketch is None:
        return f"the embedding {model.embedding} does not recognise copies"
    if is_dataset:
        return "the Dataset has no limit of their similarity (near_duplicates)"
    if near_duplicates is None:
        return "the search is turned off (--near-duplicates off)"
    return "no limit of their similarity is known for this backbone (--near-duplicates)"
