"""Loading an embeddings file and its labels as a dataset."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity, check_similarity, least_similarity
from tlfeatures.dataset.embedding_choice import (
    choose_embedding,
    choose_variants,
    embedding_for_copies,
    with_variants,
)
from tlfeatures.dataset.joined_files import join_datasets, parts_by_file
from tlfeatures.dataset.labelled import label_images, labels_or_stated
from tlfeatures.dataset.labels import Groups, Labels, check_options, is_table
from tlfeatures.dataset.matching import keep_common
from tlfeatures.dataset.stored_duplicates import FilePairs, near_duplicates_of_file
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.combined import PLUS, join, parts_of
from tlfeatures.features.exchange.stored_labels import labels_of_header
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.reader import Reader, open_embeddings, read_header
from tlfeatures.features.file.rows_in_shards import RowsInShards, as_array
from tlfeatures.names import some_of

logger = logging.getLogger(__name__)

Data: TypeAlias = str | os.PathLike[str] | Dataset
Files: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_SHOWN = 3  # number of ids in a message


def as_dataset(
    data: Data | Files,
    *,
    embedding: str | None = None,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    looks: bool = False,
    on_disk: bool = False,
) -> Dataset:
    """Load an embeddings file, or return a given dataset.

    Parameters
    ----------
    data : path, sequence of paths, or Dataset
        Embeddings files of `extract`, or a dataset, which is returned.
    embedding, labels, groups, label_level, columns, near_duplicates, variants, looks
        See `load_dataset`. They apply to a file, not to a dataset.
    on_disk
        See `load_dataset`. A dataset stays as it is.

    Raises
    ------
    ParameterError
        If one of these options is given with a `Dataset`, or `data` has another type.
    DatasetError, StoreError
        See `load_dataset`.
    """
    if not isinstance(data, Dataset):
        return load_dataset(
            data,
            embedding,
            labels,
            groups=groups,
            label_level=label_level,
            columns=columns,
            near_duplicates=near_duplicates,
            variants=variants,
            looks=looks,
            on_disk=on_disk,
        )
    data.check()
    given = {
        "embedding": embedding is not None,
        "labels": labels is not None,
        "groups": groups is not None,
        "label_level": label_level is not None,
        "columns": columns is not None,
        "near_duplicates": near_duplicates != "auto",
        "variants": variants is not None,
        "looks": looks,
    }
    listed = ", ".join(name for name, is_given in given.items() if is_given)
    if listed:
        raise ParameterError(
            f"{listed} can't be changed for a Dataset; give {listed} to load_dataset, or give the "
            "embeddings file instead of the Dataset"
        )
    return data


def check_data(data: object) -> None:
    """Raise `ParameterError` if this is neither a path nor a `Dataset`."""
    if not isinstance(data, str | os.PathLike | Dataset):
        raise ParameterError(
            f"data is of the type {type(data).__name__}; expected an embeddings file or a Dataset"
        )


def load_dataset(
    file: Files,
    embedding: str | None = None,
    labels: Labels = None,
    *,
    groups: Groups = None,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    looks: bool = False,
    on_disk: bool = False,
) -> Dataset:
    """Load one embedding of a file with its labels, and search for copies among the images.

    Parameters
    ----------
    file : path, or sequence of paths
        Embeddings file of `extract`, or several files whose embeddings are joined.
    embedding : str, optional
        Name of an embedding, `LAYER.POOLING`. It may be omitted if the file has only one embedding,
        or the default of its backbone (block5_pool.avg for VGG16). `A+B+C` joins several
        embeddings; the row of each image in each embedding is scaled to length 1. With several
        files, each part has its file: `a.h5:A+b.h5:B`. The file is given by its path, its name or
        its backbone. Only the images that all these files contain are kept.
    labels : path of a table, mapping, pandas Series, array or list, optional
        A table (CSV, JSON, Parquet, Excel) needs the columns `id` and `label`; the columns `group`
        and `split` (train, val, test) are optional. A mapping has a label for each id; a Series may
        have ids as its index. An array, a list or a Series with a default index has one label for
        each embedded image, in the order of `embedded_ids`. Texts, whole numbers, True and False
        are converted to texts. None, NaN and "" mean that an image has no label. Blanks around a
        name and its Unicode form are ignored; see `tlfeatures.dataset.labels`. By default, the
        labels are those that the source of the images states, otherwise the names of the folders.
    groups : path of a table, regular expression, mapping, Series, array or list, optional
        A table needs the columns `id` and `group`. A regular expression is searched in the id; the
        group is the part in its first `( )` or, without one, the whole match. Other objects have
        the same form as `labels`. These groups replace the groups of `labels`.
    label_level : int, optional
        The folder of an id that is the label: 1 for the top folder, 2 for the folder in it, -1 for
        the folder that directly contains the image. The default is 2 if the top folders are splits,
        otherwise 1. Groups and splits that the source of the images states are kept.
    columns : mapping of {"id", "label", "group", "split"} to str, optional
        Names of the columns of the tables, if they differ from the usual ones.
    near_duplicates : float, "auto" or None
        Smallest similarity of two images that count as the same photograph (see
        `tlfeatures.dataset.duplicates`). "auto" means the threshold of the file's backbone. Of
        several files, each has its own threshold, and their copies are united. The similarity is
        computed with the embedding of the file that is best for this (`embedding_for_copies`),
        also if another embedding is loaded. All embedded images are compared, also those without a
        label, and the result is kept beside the file (`tlfeatures.dataset.stored_duplicates`). With
        None, only identical files are copies.
    variants : int, optional
        Number of variants of each image to load. None loads all variants of the file.
    looks : bool
        Whether to keep the embedding in which copies are searched; see `Dataset`.
    on_disk : bool
        Whether the rows of a sharded file stay in its shards, so that they need no memory: X then
        reads rows when it is indexed (`tlfeatures.features.file.rows_in_shards`). It has no effect
        on other files, on several files, and with variants.

    Returns
    -------
    Dataset
        The embedded and labelled images, in the order of their ids.

    Raises
    ------
    DatasetError
        If there are no labels, labels can't be read, an image has two labels, or no image is
        embedded. Also if several files have no image in common, or different images under an id.
    ParameterError
        If the file does not have the embedding or as many variants, or an option has an invalid
        value. Also if the embedding doesn't name its parts' files, or not all of the files.
    StoreError
        If the file can't be read.

    Examples
    --------
    >>> load_dataset("photos.h5", groups="(patient[0-9]+)")  # doctest: +SKIP
    >>> table = pandas.read_csv("photos.csv", index_col="id")  # doctest: +SKIP
    >>> load_dataset("photos.h5", labels=table["species"], groups=table["site"])  # doctest: +SKIP
    """
    files = list_files(file)
    check_similarity(near_duplicates)
    if labels is not None:  # otherwise the columns may be those of the source of the images
        check_options(labels, groups, columns)
    datasets = [
        _load_file(
            path,
            own,
            labels,
            groups=groups,
            label_level=label_level,
            columns=columns,
            near_duplicates=near_duplicates,
            variants=variants,
            looks=looks,
            on_disk=on_disk and len(files) == 1,
        )
        for path, own in _embeddings_of(files, embedding).items()
    ]
    data = join_datasets(keep_common(datasets))
    return data if looks else replace(data, looks=None)


def list_files(file: Files) -> list[str]:
    """Return the paths of one or several embeddings files, each once.

    Raises
    ------
    ParameterError
        If it is no path and no sequence of paths, or the sequence is empty.
    """
    if isinstance(file, Dataset):
        raise ParameterError("file is a Dataset, which is loaded already; expected a path")
    if isinstance(file, Sequence) and not isinstance(file, str | bytes):
        files = list(file)
    else:
        files = [file]
    for path in files:
        check_data(path)
        if isinstance(path, Dataset):
            raise ParameterError(
                "data is a list with a Dataset, but only files can be joined; expected an "
                "embeddings file or a Dataset"
            )
    if not files:
        raise ParameterError("there is no file; expected the path of an embeddings file")
    return list(dict.fromkeys(map(str, files)))


def _embeddings_of(files: list[str], embedding: str | None) -> dict[str, str | None]:
    """Return the embedding to load from each file."""
    found = None if embedding is None else parts_by_file(embedding, files)
    if found is None and len(files) == 1:
        return {files[0]: embedding}
    example = PLUS.join(f"{file}:LAYER.POOLING" for file in files)
    if found is None:
        raise ParameterError(
            f"there are {len(files)} files, so the embedding must name the file of each part: "
            f"--embedding {example}"
        )
    unused = [file for file in files if file not in found]
    if unused:
        raise ParameterError(
            f"embedding is {embedding!r}, which doesn't use {', '.join(unused)}; leave this out, "
            f"or join all files: --embedding {example}"
        )
    return dict(found)


def _load_file(
    file: str,
    embedding: str | None,
    labels: Labels,
    *,
    groups: Groups,
    label_level: int | None,
    columns: Mapping[str, str] | None,
    near_duplicates: Similarity,
    variants: int | None,
    looks: bool,
    on_disk: bool,
) -> Dataset:
    """Load an embedding of one file; see `load_dataset`."""
    with open_embeddings(file) as reader:  # opened once, because the file may be replaced meanwhile
        header = reader.header
        name = choose_embedding(header, embedding)
        count = choose_variants(header, variants)
        rows_of = _in_shards if on_disk and header.shards and not count else _read
        X = rows_of(reader, name)
        values = _read_variants(reader, name, count)
        properties = reader.read_properties()
        best = embedding_for_copies(header)
        read = functools.cache(lambda: X if best == name else rows_of(reader, best))
        near = _search_copies(reader, best, read, near_duplicates)
        look = read() if looks and best != name else None
    done = np.flatnonzero(header.done).tolist()
    _warn_about_missing(header, len(done))
    if not done:
        raise DatasetError(f"no image of {header.path} is embedded; run `tlfeatures extract` again")
    of_groups = isinstance(groups, str | os.PathLike) and is_table(groups)
    of_source = labels is None and not of_groups and header.spec.imported is None
    labels, label_level = labels_or_stated(
        labels, label_level, lambda: labels_of_header(header, columns if of_source else None)
    )
    if labels is not None and of_source:
        columns = None  # they are those of the source
    labelled = label_images(
        [header.ids[row] for row in done],
        str(file),
        labels,
        groups,
        label_level=label_level,
        columns=columns,
        unreadable=header.failures,
    )
    digests = np.frombuffer(b"".join(header.digests[row] for row in done), np.uint8)
    return labelled.with_embeddings(
        X,
        digests.reshape(len(done), -1),
        embedding=name,
        spec=with_variants(header.spec, count),
        near_duplicates=near_duplicates,
        near=None if near is None else near.among(labelled.rows),
        variants=values,
        looks=look,
        properties=properties,
    )


def embedded_ids(file: str | os.PathLike[str]) -> list[str]:
    """Return the ids of a file's embedded images. Arrays of labels and groups have their order.

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


def _read(reader: Reader, embedding: str) -> NDArray[np.float32]:
    return join({part: reader.read(part) for part in parts_of(embedding)}, embedding)


def _in_shards(reader: Reader, embedding: str) -> NDArray[np.float32]:
    rows = np.flatnonzero(reader.header.done)
    return as_array(RowsInShards(reader.header, embedding, rows))


def _read_variants(reader: Reader, embedding: str, count: int) -> NDArray[np.float32] | None:
    if not count:
        return None
    read = {part: reader.read_variants(part, count) for part in parts_of(embedding)}
    return join(read, embedding)


def _search_copies(
    reader: Reader,
    embedding: str,
    read: Callable[[], NDArray[np.float32]],
    near_duplicates: Similarity,
) -> FilePairs | None:
    """Search near-duplicates in an embedding; None if they are not searched."""
    least = least_similarity(near_duplicates, reader.header.spec)
    return None if least is None else near_duplicates_of_file(reader, embedding, read, least)


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
