"""Load an embeddings file and its labels as a dataset."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Real
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.embedding_choice import (
    choose_embedding,
    choose_variants,
    embedding_for_copies,
    with_variants,
)
from tlfeatures.dataset.labelled import label_images
from tlfeatures.dataset.labels import Groups, Labels, check_options
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.combined import join, parts_of
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.reader import Reader, open_embeddings, read_header
from tlfeatures.names import some_of

logger = logging.getLogger(__name__)

Data: TypeAlias = str | os.PathLike[str] | Dataset

_SHOWN = 3  # ids that a message names


def as_dataset(
    data: Data,
    *,
    embedding: str | None = None,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    looks: bool = False,
) -> Dataset:
    """Load an embeddings file, or return the dataset that is given.

    Parameters
    ----------
    data : path or Dataset
    embedding, labels, groups, label_level, label_columns, near_duplicates, variants, looks
        See `load_dataset`; only with a path.

    Raises
    ------
    ParameterError
        If one of these options is given with a `Dataset`, or `data` is something else.
    DatasetError, StoreError
        See `load_dataset`.
    """
    check_data(data)
    if not isinstance(data, Dataset):
        return load_dataset(
            data,
            embedding,
            labels,
            groups=groups,
            label_level=label_level,
            label_columns=label_columns,
            near_duplicates=near_duplicates,
            variants=variants,
            looks=looks,
        )
    given = {
        "embedding": embedding is not None,
        "labels": labels is not None,
        "groups": groups is not None,
        "label_level": label_level is not None,
        "label_columns": label_columns is not None,
        "near_duplicates": near_duplicates != "auto",
        "variants": variants is not None,
        "looks": looks,
    }
    refuse_options_of_file(name for name, is_given in given.items() if is_given)
    return data


def check_data(data: object) -> None:
    """Raise `ParameterError` if this is neither a path nor a `Dataset`."""
    if not isinstance(data, str | os.PathLike | Dataset):
        raise ParameterError(
            f"data is of the type {type(data).__name__}; expected the path of an embeddings file, "
            "or a Dataset (see load_dataset)"
        )


def refuse_options_of_file(names: Iterable[str]) -> None:
    """Raise `ParameterError` if there are names of options which a `Dataset` can't have."""
    listed = ", ".join(names)
    if listed:
        raise ParameterError(
            f"{listed} can't be changed for a Dataset; give {listed} to load_dataset, or give the "
            "embeddings file instead of the Dataset"
        )


def load_dataset(
    file: str | os.PathLike[str],
    embedding: str | None = None,
    labels: Labels = None,
    *,
    groups: Groups = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    looks: bool = False,
) -> Dataset:
    """Load one embedding of a file with its labels, and find copies among the images.

    Parameters
    ----------
    file : path
        Embeddings file of `extract`.
    embedding : str, optional
        `LAYER.POOLING`; not needed if the file has only one, or block5_pool.avg. `A+B+C` joins
        several; each image's row of each is scaled to length 1.
    labels : path of a CSV file, mapping, pandas Series, array or list, optional
        A CSV needs the columns `id` and `label`; `group` and `split` (train, val, test) are
        optional. A mapping has a label for each id, and so has a Series whose index are ids. An
        array, a list or a Series with a default index has one label for each embedded image, in the
        order of `embedded_ids`. Text, whole numbers, True and False are labels, which become their
        text; None, NaN and "" are none. Blanks around a name and its Unicode form don't matter; see
        `tlfeatures.dataset.labels`. By default, the class is the image's folder.
    groups : path of a CSV file, regular expression, mapping, Series, array or list, optional
        A CSV needs the columns `id` and `group`. The expression is searched in the id. The group is
        the part that its first group `( )` matches or, without one, the whole match. Objects are
        read like those of `labels`. They replace the groups of `labels`.
    label_level : int, optional
        Which part of an id is the label: 1 for the top folder, 2 for the folder in it, -1 for the
        folder that holds the image. The default is 2 if the top folders are splits, else 1.
    label_columns : mapping of {"id", "label", "group", "split"} to str, optional
        Names of the columns of the CSV files, if they differ from the roles.
    near_duplicates : float, "auto" or None
        Least similarity of two images that are the same photograph (see
        `tlfeatures.dataset.duplicates`). "auto" is the limit of the file's backbone. It is measured
        on the embedding of the file that is best for this (`embedding_for_copies`), whichever one
        is loaded. None: only identical files are copies.
    variants : int, optional
        Number of each image's variants to load; None: all that the file has.
    looks : bool
        Whether to keep the embedding on which copies are found; see `Dataset`.

    Returns
    -------
    Dataset
        The embedded and labelled images, in the order of their ids.

    Raises
    ------
    DatasetError
        If there are no labels, if they can't be read or contradict each other, or if no image is
        embedded.
    ParameterError
        If the file has no such embedding or fewer variants, or an option can't be used.
    StoreError
        If the file can't be read.

    Examples
    --------
    >>> load_dataset("photos.h5", groups="(patient[0-9]+)")  # doctest: +SKIP
    >>> table = pandas.read_csv("photos.csv", index_col="id")  # doctest: +SKIP
    >>> load_dataset("photos.h5", labels=table["species"], groups=table["site"])  # doctest: +SKIP
    """
    if not isinstance(file, str | os.PathLike):
        raise ParameterError(f"got {type(file).__name__}; expected an embeddings file or a Dataset")
    check_similarity(near_duplicates)
    check_options(labels, groups, label_columns)
    with open_embeddings(file) as reader:  # one opening: the file may be replaced at any moment
        header = reader.header
        name = choose_embedding(header, embedding)
        count = choose_variants(header, variants)
        X = join({part: reader.read(part) for part in parts_of(name)}, name)
        with_copies = looks or near_duplicates is not None
        values = _read_variants(reader, name, count), _read_look(reader, name, with_copies)
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
        variants=values[0],
        looks=values[1],
    )
    return data if looks else replace(data, looks=None)


def embedded_ids(file: str | os.PathLike[str]) -> list[str]:
    """Give the ids of a file's embedded images, in the order of labels and groups in an array.

    Parameters
    ----------
    file : path
        Embeddings file of `extract`.

    Raises
    ------
    StoreError
        If the file can't be read.
    """
    header = read_header(file)
    return [header.ids[row] for row in np.flatnonzero(header.done)]


def _read_variants(reader: Reader, embedding: str, count: int) -> NDArray[np.float32] | None:
    if not count:
        return None
    read = {part: reader.read_variants(part, count) for part in parts_of(embedding)}
    return join(read, embedding)


def _read_look(reader: Reader, embedding: str, wanted: bool) -> NDArray[np.float32] | None:
    """Read the embedding to find copies on, unless it is the loaded one."""
    best = embedding_for_copies(reader.header)
    return reader.read(best) if wanted and best != embedding else None


def check_similarity(near_duplicates: Similarity) -> None:
    """Raise `ParameterError` if this is no similarity (see `load_dataset`)."""
    if isinstance(near_duplicates, Real) and 0 < near_duplicates <= 1:
        return
    if near_duplicates not in ("auto", None):
        raise ParameterError(
            f"near_duplicates is {near_duplicates}; expected a similarity above 0, up to 1, or "
            "auto or off (None in Python)"
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
