"""An embeddings file and labels become arrays: X, y, groups, ids, split."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.duplicates import (
    NEAR_DUPLICATE,
    chained,
    find_near_duplicates,
    identical_pairs,
    merge_groups,
)
from tlfeatures.dataset.embedding_choice import (
    choose_embedding,
    choose_variants,
    telling_embedding,
    with_variants,
)
from tlfeatures.dataset.labels import (
    Groups,
    Labels,
    check_options,
    find_groups,
    find_rows,
    warn_of_names,
)
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.combined import join, parts_of
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.reader import open_embeddings
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.features.spec import Spec
from tlfeatures.names import some_of

logger = logging.getLogger(__name__)

_SHOWN = 3  # ids that a message names


@dataclass(frozen=True)
class Unreadable:
    """An image of an embeddings file that could not be read.

    Attributes
    ----------
    id : str
    label : str or None
        Its class, where the folders or the labels give it one.
    reason : str
    """

    id: str
    label: str | None
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset(EqualByValue):
    """Labelled embeddings.

    Attributes
    ----------
    X : ndarray of shape (n, d), float32
    y : ndarray of shape (n,), str
        The class of each image.
    groups : ndarray of shape (n,), str, or None
        The user's: patient, site, video.
    ids : ndarray of shape (n,), str
        POSIX path relative to the source folder.
    split : ndarray of shape (n,), str, or None
        train, val or test, where the folders say so.
    embedding : str
        `LAYER.POOLING`, or several side by side, `A+B`: the column meaning of X.
    spec : Spec
        How X came about.
    file : str
    copies : ndarray of shape (p, 2), int
        Pairs of rows that are the same image, or nearly.
    digests : ndarray of shape (n, 32), uint8, or None
        sha256 of each image file.
    variants : ndarray of shape (n, v, d), float32, or None
        Embeddings of v variants of each image: heads are fitted on those of their training images,
        too, and never scored on any.
    looks : ndarray of shape (n, d'), float32, or None
        The embedding by which copies are told, where it isn't X and was asked for.
    unreadable : tuple of Unreadable
        Images of the file that have no embedding because they could not be read.
    """

    X: NDArray[np.float32]
    y: NDArray[np.str_]
    groups: NDArray[np.str_] | None
    ids: NDArray[np.str_]
    split: NDArray[np.str_] | None
    embedding: str
    spec: Spec
    file: str
    copies: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    digests: NDArray[np.uint8] | None = None
    variants: NDArray[np.float32] | None = None
    looks: NDArray[np.float32] | None = None
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def n_variants(self) -> int:
        """Variants of each image."""
        return 0 if self.variants is None else self.variants.shape[1]

    @cached_property
    def together(self) -> NDArray[np.int64] | None:
        """Rows with the same number never stand on both sides of a fold; None: each stands alone.

        Rows of one group, and copies of each other, also by way of a third.
        """
        return merge_groups(len(self.y), self.groups, [self.copies])

    @property
    def classes(self) -> list[str]:
        """The classes, sorted."""
        return sorted(set(self.y.tolist()))

    def take(self, rows: NDArray[np.int_]) -> Dataset:
        """Give these rows in this order; of copies, those that are left stay together."""
        if np.array_equal(rows, np.arange(len(self.ids))):
            return self
        # Of i = j = k, k = i is left where j goes.
        same = merge_groups(len(self.ids), None, [self.copies])
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            ids=self.ids[rows],
            groups=None if self.groups is None else self.groups[rows],
            split=None if self.split is None else self.split[rows],
            copies=self.copies if same is None else chained(same[rows].tolist()),
            digests=None if self.digests is None else self.digests[rows],
            variants=None if self.variants is None else self.variants[rows],
            looks=None if self.looks is None else self.looks[rows],
        )


def load_dataset(
    file: str | os.PathLike[str],
    embedding: str | None = None,
    labels: Labels = None,
    *,
    groups: Groups = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: float | None = NEAR_DUPLICATE,
    variants: int | None = None,
    looks: bool = False,
) -> Dataset:
    """Load one embedding of a file with its labels, and find images that are there twice.

    Parameters
    ----------
    file : path
        Made by `extract`.
    embedding : str, optional
        `LAYER.POOLING`; not needed where the file has only one, or block5_pool.avg. `A+B+C` puts
        several side by side, each image's row of each scaled to length 1.
    labels : path of a CSV file, or mapping of id to label, optional
        A CSV needs the columns `id` and `label`; `group` and `split` (train, val, test) are
        read where they are there. Blanks around a name and its Unicode form don't count; see
        `tlfeatures.dataset.labels`. Without it the class is the image's folder.
    groups : path of a CSV file with columns `id` and `group`, or regular expression, optional
        The expression is searched in the id; the group is what its first bracket matches, or
        all of it. They take the place of the groups of `labels`.
    label_level : int, optional
        Which part of an id is the label: 1 for the top folder, 2 for the folder in it, -1 for the
        folder that holds the image. Not given, it is 2 where the top folders are splits, else 1.
    label_columns : mapping of {"id", "label", "group", "split"} to str, optional
        Names of the columns of the CSV files, where they are called otherwise.
    near_duplicates : float or None
        Similarity from which two images are the same photo, see `tlfeatures.dataset.duplicates`, by the
        embedding of the file that tells it best (`telling_embedding`), whichever one is loaded;
        None: only identical files count as copies.
    variants : int, optional
        How many of each image's variants are loaded, the first ones; None: all that the file has.
    looks : bool
        Whether to keep the embedding by which copies are told, see `Dataset`.

    Returns
    -------
    Dataset
        Finished and labelled images only, in the order of their ids.

    Raises
    ------
    DatasetError
        If there are no labels, they can't be read or contradict each other, or no image is
        finished.
    ParameterError
        If there is no such embedding, the file has fewer variants, or an option can't be used.
    StoreError
        If the file can't be read.
    """
    check_similarity(near_duplicates)
    check_options(labels, groups, label_columns)
    with open_embeddings(file) as reader:  # one opening: the file may be replaced at any moment
        header = reader.header
        name = choose_embedding(header, embedding)
        count = choose_variants(header, variants)
        X = join({part: reader.read(part) for part in parts_of(name)}, name)
        of_variants = None
        if count:
            read = {part: reader.read_variants(part, count) for part in parts_of(name)}
            of_variants = join(read, name)
        telling, best = None, telling_embedding(header)
        if (looks or near_duplicates is not None) and best != name:
            telling = reader.read(best)
    done = np.flatnonzero(header.done).tolist()
    _warn_about_missing(header, len(done))
    if not done:
        raise DatasetError(f"no image of {header.path} is embedded; run `tlfeatures extract` again")
    labelled = label_images(
        [header.ids[row] for row in done],
        str(file),
        labels,
        groups,
        label_level=label_level,
        label_columns=label_columns,
        unreadable=header.failures,
    )
    digests = np.frombuffer(b"".join(header.digests[row] for row in done), np.uint8)
    data = labelled.with_embeddings(
        X,
        digests.reshape(len(done), -1),
        embedding=name,
        spec=with_variants(header.spec, count),
        near_duplicates=near_duplicates,
        variants=of_variants,
        looks=telling,
    )
    return data if looks else replace(data, looks=None)


def check_similarity(near_duplicates: float | None) -> None:
    """Refuse what is no similarity (see `load_dataset`) with `ParameterError`."""
    if near_duplicates is not None and not 0 < near_duplicates <= 1:
        raise ParameterError(
            f"near_duplicates is {near_duplicates}; expected a similarity above 0, up to 1, or off"
        )


@dataclass(frozen=True, eq=False)
class Labelled(EqualByValue):
    """Images that have a label: a dataset but for its embeddings.

    Attributes
    ----------
    rows : ndarray of shape (n,), int
        Their places among the images that labels were looked for.
    ids, y : ndarray of shape (n,), str
    groups, split : ndarray of shape (n,), str, or None
    file : str
        Where the images are.
    unreadable : tuple of Unreadable
    """

    rows: NDArray[np.int_]
    ids: NDArray[np.str_]
    y: NDArray[np.str_]
    groups: NDArray[np.str_] | None
    split: NDArray[np.str_] | None
    file: str
    unreadable: tuple[Unreadable, ...] = ()

    def take(self, places: NDArray[Any]) -> Labelled:
        """Give some of them: places, or a mask."""
        return replace(
            self,
            rows=self.rows[places],
            ids=self.ids[places],
            y=self.y[places],
            groups=None if self.groups is None else self.groups[places],
            split=None if self.split is None else self.split[places],
        )

    def with_embeddings(
        self,
        X: NDArray[np.float32],
        digests: NDArray[np.uint8],
        *,
        embedding: str,
        spec: Spec,
        near_duplicates: float | None,
        variants: NDArray[np.float32] | None = None,
        looks: NDArray[np.float32] | None = None,
    ) -> Dataset:
        """Join them with their embeddings, and find images that are there twice.

        Parameters
        ----------
        X : ndarray of shape (m, d), float32
            Of all images that labels were looked for.
        digests : ndarray of shape (m, 32), uint8
        embedding, spec
            What X is, see `Dataset`.
        near_duplicates : float or None
            See `load_dataset`.
        variants : ndarray of shape (m, v, d), float32, optional
        looks : ndarray of shape (m, d'), float32, optional
            The embedding by which copies are told, where it isn't X.
        """
        if len(self.rows) < len(X):
            X, digests = X[self.rows], digests[self.rows]
            variants = None if variants is None else variants[self.rows]
            looks = None if looks is None else looks[self.rows]
        for values in (X, *(() if variants is None else np.moveaxis(variants, 1, 0))):
            _check_finite(values, self.ids.tolist(), embedding)
        same = identical_pairs(digests)
        near = np.empty((0, 2), np.int64)
        if near_duplicates is not None:
            near, _ = find_near_duplicates(X if looks is None else looks, near_duplicates)
        data = Dataset(
            X=X,
            y=self.y,
            groups=self.groups,
            ids=self.ids,
            split=self.split,
            embedding=embedding,
            spec=spec,
            file=self.file,
            copies=np.unique(np.concatenate([same, near]), axis=0),
            digests=digests,
            variants=variants,
            looks=looks,
            unreadable=self.unreadable,
        )
        _say_copies(data, len(same))
        return data


def label_images(
    ids: list[str],
    file: str,
    labels: Labels = None,
    groups: Groups = None,
    *,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    unreadable: Mapping[str, str] | None = None,
) -> Labelled:
    """Find the label, group and split of images.

    Parameters
    ----------
    ids : list of str, length m
    file : str
        Where they are; for messages.
    labels, groups, label_level, label_columns
        See `load_dataset`.
    unreadable : mapping of id to reason, optional
        Further images, which could not be read.

    Returns
    -------
    Labelled
        Those of `ids` that have a label, in the order of `ids`.

    Raises
    ------
    DatasetError
        If none has one, some have no group, or labels or groups can't be read.
    ParameterError
        If an option can't be used.
    """
    check_options(labels, groups, label_columns)
    failed = unreadable or {}
    everything = find_rows(
        [*ids, *failed],
        labels,
        level=label_level,
        columns=label_columns,
        group_column=groups is None,
    )
    found = everything[: len(ids)]
    rows = [number for number, row in enumerate(found) if row.label is not None]
    if not rows:
        raise DatasetError(_no_labels(file, ids, labels, label_level))
    _warn_about_unlabelled(ids, found)
    kept, kept_ids = [found[row] for row in rows], [ids[row] for row in rows]
    if groups is None:
        grouped = _column(kept, kept_ids, "group")
    else:
        both = labels is not None and not isinstance(labels, Mapping)
        grouped = find_groups(groups, kept_ids, label_columns, columns_of_labels=both)
    labelled = Labelled(
        rows=np.array(rows),
        ids=np.array(kept_ids),
        y=np.array([row.label for row in kept]),
        groups=grouped,
        split=_column(kept, kept_ids, "split"),
        file=file,
        unreadable=tuple(
            Unreadable(id_, row.label, reason)
            for (id_, reason), row in zip(failed.items(), everything[len(ids) :], strict=True)
        ),
    )
    warn_of_names(labelled.y.tolist(), None if grouped is None else grouped.tolist())
    return labelled


def _warn_about_unlabelled(ids: list[str], rows: list[LabelRow]) -> None:
    without = [id_ for id_, row in zip(ids, rows, strict=True) if row.label is None]
    if without:
        logger.warning(
            "%d of %d images have no label and are left out: %s",
            len(without),
            len(ids),
            some_of(map(repr, without), _SHOWN),
        )


def _check_finite(X: NDArray[np.float32], ids: list[str], embedding: str) -> None:
    # A sum is finite if all of its terms are, and needs no mask as large as X.
    with np.errstate(over="ignore", invalid="ignore"):
        bad = np.flatnonzero(~np.isfinite(X.sum(axis=1, dtype=np.float64)))
    if len(bad):
        raise DatasetError(
            f"{embedding} of {len(bad)} images is not finite, {ids[bad[0]]!r} first: "
            "`tlfeatures verify FILE --mend` and then `tlfeatures extract` compute them again"
        )


def _say_copies(data: Dataset, identical: int) -> None:
    """Copies stay in one fold; contradicting ones have a wrong label."""
    if not len(data.copies):
        return
    torn = data.copies[data.y[data.copies[:, 0]] != data.y[data.copies[:, 1]]]
    if len(torn):
        i, j = torn[0]
        logger.warning(
            "%d pairs of the same or nearly the same image lie in two classes (%s = %s first); "
            "`tlfeatures audit` lists them",
            len(torn),
            data.ids[i],
            data.ids[j],
        )
    logger.info(
        "%d pairs of images are copies (%d identical files), kept in one fold:%s",
        len(data.copies),
        identical,
        "".join(f"\n  {data.ids[i]}  =  {data.ids[j]}" for i, j in data.copies[:100]),
    )


def _warn_about_missing(header: Header, done: int) -> None:
    failed = header.failures
    waiting = len(header.ids) - done - len(failed)
    if failed:
        logger.warning(
            "%d of %d images could not be read and are left out: %s",
            len(failed),
            len(header.ids),
            some_of((f"{id_} ({why})" for id_, why in failed.items()), _SHOWN),
        )
    if waiting:
        logger.warning(
            "%d of %d images are not embedded yet and are left out; run `tlfeatures extract` "
            "again to finish",
            waiting,
            len(header.ids),
        )


def _column(rows: list[LabelRow], ids: list[str], name: str) -> NDArray[np.str_] | None:
    """All or none: a blank cell would silently switch groups or splits off."""
    values = [getattr(row, name) for row in rows]
    blank = [id_ for id_, value in zip(ids, values, strict=True) if value is None]
    if len(blank) == len(values):
        return None
    if blank:
        raise DatasetError(
            f"{len(blank)} of {len(values)} labelled images have no {name}, {blank[0]!r} first; "
            f"give each one a {name}, or none"
        )
    return np.array(values)


def _no_labels(file: str, ids: list[str], labels: Labels, level: int | None) -> str:
    if labels is not None:
        return f"the labels of all images of {file} are empty; an id is the path, as in {ids[0]!r}"
    if level is not None:
        return f"no image of {file} has a folder at label level {level}; ids are as {ids[0]!r}"
    return (
        f"the images of {file} lie in no class folders ({ids[0]}); give their labels with "
        "--labels CSV (columns id,label)"
    )
