"""Labelled images: ids, labels, groups and splits. With embeddings, they become a dataset."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset, Unreadable
from tlfeatures.dataset.duplicates import Similarity, find_copies, least_similarity, log_copies
from tlfeatures.dataset.label_values import ById, by_id
from tlfeatures.dataset.labels import (
    Groups,
    Labels,
    check_options,
    find_groups,
    find_rows,
    warn_of_names,
)
from tlfeatures.dataset.rows import check_finite, select_rows
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import DatasetError, SourceError
from tlfeatures.features.file.rows_in_shards import in_shards
from tlfeatures.features.sources.folder_labels import LabelRow, with_folder_labels
from tlfeatures.features.spec import Spec
from tlfeatures.names import some_of

logger = logging.getLogger(__name__)

_SHOWN = 3  # number of ids in a message


@dataclass(frozen=True, eq=False)
class Labelled(EqualByValue):
    """Images that have a label: a dataset without its embeddings.

    Attributes
    ----------
    rows : ndarray of shape (n,), int
        Positions of the images among all images for which labels were searched.
    ids, y : ndarray of shape (n,), str
        Ids and labels of the images.
    groups, split : ndarray of shape (n,), str, or None
        See `Dataset`.
    file : str
        Path of the embeddings file, or of the folder of the images.
    unreadable : tuple of Unreadable
        Images that could not be read.
    """

    rows: NDArray[np.int_]
    ids: NDArray[np.str_]
    y: NDArray[np.str_]
    groups: NDArray[np.str_] | None
    split: NDArray[np.str_] | None
    file: str
    unreadable: tuple[Unreadable, ...] = ()

    def take(self, selection: NDArray[Any]) -> Labelled:
        """Return some of the images, selected by their positions or by a mask."""
        return replace(
            self,
            rows=self.rows[selection],
            ids=self.ids[selection],
            y=self.y[selection],
            groups=None if self.groups is None else self.groups[selection],
            split=None if self.split is None else self.split[selection],
        )

    def with_embeddings(
        self,
        X: NDArray[np.float32],
        digests: NDArray[np.uint8],
        *,
        embedding: str,
        spec: Spec,
        near_duplicates: Similarity,
        near: NDArray[np.int64] | None = None,
        variants: NDArray[np.float32] | None = None,
        looks: NDArray[np.float32] | None = None,
        properties: NDArray[np.float32] | None = None,
    ) -> Dataset:
        """Create a dataset from the images and their embeddings, and search for copies.

        Parameters
        ----------
        X : ndarray of shape (m, d), float32
            Embeddings of all m images for which labels were searched.
        digests : ndarray of shape (m, 32), uint8
            sha256 of the image files.
        embedding, spec
            See `Dataset`.
        near_duplicates : float, "auto" or None
            See `load_dataset`.
        near : ndarray of shape (p, 2), int, optional
            Near-duplicates among the labelled images, if they were searched before.
        variants : ndarray of shape (m, v, d), float32, optional
            Embeddings of v variants of each image.
        looks : ndarray of shape (m, d'), float32, optional
            Embedding in which copies are searched, if it is not X.
        properties : ndarray of shape (m, q), float32, optional
            Properties of the images.

        Raises
        ------
        DatasetError
            If an embedding has a value that isn't finite.
        """
        if len(self.rows) < len(X):
            X, digests = select_rows(X, self.rows), digests[self.rows]
            variants = None if variants is None else variants[self.rows]
            looks = None if looks is None else select_rows(looks, self.rows)
            properties = None if properties is None else properties[self.rows]
        if in_shards(X) is None:  # otherwise it is checked when the rows are read
            for values in (X, *(() if variants is None else np.moveaxis(variants, 1, 0))):
                check_finite(values, self.ids.tolist(), embedding)
        shown = X if looks is None else looks
        copies, identical = find_copies(shown, digests, near_duplicates, spec, near)
        data = Dataset(
            X=X,
            y=self.y,
            groups=self.groups,
            ids=self.ids,
            split=self.split,
            embedding=embedding,
            spec=spec,
            file=self.file,
            copies=copies,
            digests=digests,
            variants=variants,
            looks=looks,
            properties=properties,
            unreadable=self.unreadable,
            near_duplicates=least_similarity(near_duplicates, spec),
        )
        log_copies(copies, identical, self.ids, self.y)
        return data


def label_images(
    ids: list[str],
    file: str,
    labels: Labels = None,
    groups: Groups = None,
    *,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    unreadable: Mapping[str, str] | None = None,
) -> Labelled:
    """Find the label, group and split of images.

    Parameters
    ----------
    ids : list of str, length m
        Ids of the images.
    file : str
        Path of the embeddings file, or of the folder of the images.
    labels, groups, label_level, columns
        See `load_dataset`.
    unreadable : mapping of id to reason, optional
        Images that could not be read, in addition to `ids`.

    Returns
    -------
    Labelled
        The images that have a label, in the order of `ids`.

    Raises
    ------
    DatasetError
        If no image has a label, some images have no group, or labels or groups can't be read.
    ParameterError
        If an option has an invalid value.
    """
    check_options(labels, groups, columns)
    labels_by_id = _by_id(labels, ids, "labels", file)
    groups_by_id = _by_id(groups, ids, "groups", file)
    failed = unreadable or {}
    all_rows = find_rows(
        [*ids, *failed],
        labels_by_id,
        level=label_level,
        columns=columns,
        group_column=groups_by_id is None,
    )
    image_rows = all_rows[: len(ids)]
    rows = [number for number, row in enumerate(image_rows) if row.label is not None]
    if not rows:
        raise DatasetError(_no_labels_message(file, ids, labels, label_level))
    _warn_about_unlabelled(ids, image_rows)
    kept, kept_ids = [image_rows[row] for row in rows], [ids[row] for row in rows]
    if groups_by_id is None:
        grouped = _column(kept, kept_ids, "group")
    else:
        grouped = find_groups(
            groups_by_id,
            kept_ids,
            columns,
            columns_of_labels=isinstance(labels, str | os.PathLike),
        )
    labelled = Labelled(
        rows=np.array(rows),
        ids=np.array(kept_ids),
        y=np.array([row.label for row in kept]),
        groups=grouped,
        split=_column(kept, kept_ids, "split"),
        file=file,
        unreadable=tuple(
            Unreadable(id_, row.label, reason)
            for (id_, reason), row in zip(failed.items(), all_rows[len(ids) :], strict=True)
        ),
    )
    warn_of_names(labelled.y.tolist(), None if grouped is None else grouped.tolist())
    return labelled


def label_all(
    ids: list[str],
    file: str,
    labels: Labels,
    groups: Groups,
    *,
    label_level: int | None,
    columns: Mapping[str, str] | None,
) -> list[LabelRow]:
    """Find the label, group and split of images, of which some may have none.

    Parameters and errors are those of `label_images`.
    """
    check_options(labels, groups, columns)
    by_id_groups = _by_id(groups, ids, "groups", file)
    rows = find_rows(
        ids,
        _by_id(labels, ids, "labels", file),
        level=label_level,
        columns=columns,
        group_column=by_id_groups is None,
    )
    if by_id_groups is None:
        return rows
    is_file = isinstance(labels, str | os.PathLike)
    grouped = find_groups(by_id_groups, ids, columns, columns_of_labels=is_file).tolist()
    return [replace(row, group=group) for row, group in zip(rows, grouped, strict=True)]


def labels_or_stated(
    labels: Labels,
    label_level: int | None,
    read_stated: Callable[[], Mapping[str, LabelRow] | None],
) -> tuple[Labels, int | None]:
    """Return the labels that the user gives, else those that the source of the images states.

    Parameters
    ----------
    labels, label_level
        See `load_dataset`. With a level, only groups and splits are those of the source.
    read_stated : callable
        Reads the labels that the source states; returns None if it states none.

    Returns
    -------
    labels : Labels
    label_level : int or None
        None if `labels` has the labels at this level.

    Raises
    ------
    SourceError
        If the source can't be read, and there is no level.
    """
    if labels is not None:
        return labels, label_level
    try:
        stated = read_stated()
    except SourceError as error:
        if label_level is None:
            raise
        logger.warning("the source may state groups and splits, which are not used: %s", error)
        return None, label_level
    if stated is None or label_level is None:
        return stated, label_level
    if not any(row.group or row.split for row in stated.values()):
        return None, label_level
    return with_folder_labels(stated, label_level), None


def _by_id(
    values: Labels, ids: list[str], argument: str, file: str
) -> str | os.PathLike[str] | ById | None:
    """Return labels or groups by id. Values without ids are in the order of `ids`."""
    if values is None or isinstance(values, str | os.PathLike):
        return values
    return by_id(values, ids, argument, file)


def _warn_about_unlabelled(ids: list[str], rows: list[LabelRow]) -> None:
    without = [id_ for id_, row in zip(ids, rows, strict=True) if row.label is None]
    if without:
        logger.warning(
            "%d of %d images have no label and are left out: %s",
            len(without),
            len(ids),
            some_of(map(repr, without), _SHOWN),
        )


def _column(rows: list[LabelRow], ids: list[str], name: str) -> NDArray[np.str_] | None:
    """Return the groups or splits of all images, or None if no image has one.

    If only some images have one, an error is raised. Otherwise a single empty cell could disable
    groups or splits without a message.
    """
    values = [getattr(row, name) for row in rows]
    count = values.count(None)
    if count == len(values):
        return None
    if count:
        blank = [id_ for id_, value in zip(ids, values, strict=True) if value is None]
        raise DatasetError(
            f"{len(blank)} of {len(values)} labelled images have no {name}, such as {blank[0]!r}; "
            f"give all images a {name}, or none (--columns {name}= leaves a column out)"
        )
    return np.array(values)


def _no_labels_message(file: str, ids: list[str], labels: Labels, level: int | None) -> str:
    if labels is not None:
        return f"all images of {file} have empty labels; an id is a path such as {ids[0]!r}"
    if level is not None:
        return (
            f"no image of {file} has a folder at label level {level}; an id is a path such as "
            f"{ids[0]!r}"
        )
    return (
        f"the images of {file} are not in class folders ({ids[0]}); give their labels with "
        "--labels TABLE (columns id,label)"
    )
