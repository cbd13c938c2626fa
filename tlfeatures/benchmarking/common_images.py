"""Loading embeddings of one or several files, reduced to the images that all files contain."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.embedding_choice import whole_name
from tlfeatures.dataset.joined_files import join_datasets, parts_by_file
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import Data, as_dataset, check_data
from tlfeatures.dataset.matching import different_images, keep_common
from tlfeatures.errors import ParameterError
from tlfeatures.features.combined import PLUS, parts_of
from tlfeatures.features.file.reader import read_header
from tlfeatures.names import as_list, unknown_name

logger = logging.getLogger(__name__)

_Piece = tuple[int, str]  # the place of a source, and the name of one of its embeddings


def load_datasets(
    data: Data | Sequence[Data],
    embeddings: str | Sequence[str] = "all",
    *,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    on_disk: bool = False,
) -> list[Dataset]:
    """Load embeddings, and keep the images that all files and datasets contain.

    Parameters
    ----------
    data : path, Dataset, or sequence of them
        Embeddings files and datasets of the same images.
    embeddings : str or sequence of str
        Names of embeddings, joined embeddings such as `A+B` or `a.h5:A+b.h5:B`, or "all".
    labels, groups, label_level, columns, near_duplicates, variants
        See `load_dataset`. They apply to files, not to datasets.
    on_disk : bool
        See `load_dataset`. It has no effect with several files or datasets.

    Returns
    -------
    list of Dataset
        One dataset for each embedding. All have the same ids, labels and copies; a pair of images
        is a copy if it is one in any of the files.

    Raises
    ------
    DatasetError
        If the files have no images in common, or different labels for an image.
    ParameterError
        If no file or dataset has one of the embeddings, or an option is given for a dataset.
    """
    sources = _listed(data)
    if not sources:
        raise ParameterError("data is empty; expected an embeddings file or a dataset")
    wanted = _choose(as_list(embeddings), sources)
    limits: dict[int, float | None] = {}

    def load(place: int, name: str) -> Dataset:
        source = sources[place]
        data = as_dataset(
            source,
            embedding=None if isinstance(source, Dataset) else name,
            labels=labels,
            groups=groups,
            label_level=label_level,
            columns=columns,
            # All embeddings of a file have the same copies, so they are searched once.
            near_duplicates=None if place in limits else near_duplicates,
            variants=variants,
            on_disk=on_disk and len(sources) == 1,
        )
        limit = limits.setdefault(place, data.near_duplicates)
        return data if data.near_duplicates == limit else replace(data, near_duplicates=limit)

    pieces = list(dict.fromkeys(piece for parts in wanted for piece in parts))
    cut = dict(zip(pieces, keep_common([load(*piece) for piece in pieces]), strict=True))
    datasets = [join_datasets([cut[piece] for piece in parts]) for parts in wanted]
    _warn_of_different_images(list(cut.values()))
    return datasets


def _warn_of_different_images(datasets: Sequence[Dataset]) -> None:
    """Warn if files have other images under the same id: of a changed folder, or on purpose."""
    first, *others = {data.file: data for data in datasets}.values()
    for other in others:
        different = different_images(first, other)
        if different is not None:
            logger.warning(
                "%s, so the scores are not of the same images; unless you want this, run "
                "`tlfeatures extract` again for both files",
                different,
            )


def _listed(data: Data | Sequence[Data]) -> list[Data]:
    """Give a list, with each file once."""
    if isinstance(data, str | os.PathLike | Dataset) or not isinstance(data, Iterable):
        data = [data]
    for each in data:
        check_data(each)
    sources = [each if isinstance(each, Dataset) else str(each) for each in data]
    files = dict.fromkeys(each for each in sources if isinstance(each, str))
    return [*files, *(each for each in sources if isinstance(each, Dataset))]


def _name(source: Data) -> str:
    return source.file if isinstance(source, Dataset) else str(source)


def _embeddings_of(source: Data) -> list[str]:
    """Return the names of the embeddings of a file, or the name of a dataset's embedding."""
    if isinstance(source, Dataset):
        return [source.embedding]
    return list(read_header(source).embeddings)


def _choose(wanted: list[str], sources: list[Data]) -> list[list[_Piece]]:
    """Return the pieces that each of the embeddings to load is joined from; often only one."""
    available = [_embeddings_of(source) for source in sources]
    files = [source for source in sources if isinstance(source, str)]
    plain: list[str] = []
    joined: list[list[_Piece]] = []
    for name in wanted:
        known = name == "all" or any(_in_source(name, own) for own in available)
        by_file = None if known else parts_by_file(name, files)
        if known:
            plain.append(name)
        elif by_file is not None:
            joined.append([_piece(sources, available, *item) for item in by_file.items()])
        else:
            raise _unknown(name, available, ", ".join(map(_name, sources)))
    of_sources = [
        [(place, name)] for place, own in enumerate(available) for name in _of_source(plain, own)
    ]
    different = dict.fromkeys(tuple(pieces) for pieces in [*of_sources, *joined])
    return [list(pieces) for pieces in different]


def _of_source(wanted: list[str], own: list[str]) -> Iterator[str]:
    """Yield the embeddings of a source that are wanted, in its order, and then the joined ones."""
    found = [_in_source(name, own) for name in wanted]
    yield from (name for name in own if name in found or "all" in wanted)
    yield from (name for name in found if name is not None and name not in own)


def _in_source(name: str, own: list[str]) -> str | None:
    """Return the whole name of an embedding of a source; None if the source doesn't have it."""
    if name in own:
        return name
    parts = [whole_name(part, own) for part in parts_of(name)]
    return PLUS.join(parts) if set(parts) <= set(own) else None


def _piece(sources: list[Data], available: list[list[str]], file: str, name: str) -> _Piece:
    place = sources.index(file)
    whole = _in_source(name, available[place])
    if whole is None:
        raise _unknown(name, [available[place]], file)
    return place, whole


def _unknown(name: str, available: list[list[str]], sources: str) -> ParameterError:
    every = list(dict.fromkeys(name for own in available for name in own))
    parts = [whole_name(part, every) for part in parts_of(name)]
    missing = next((part for part in parts if part not in every), None)
    if missing is not None:
        return unknown_name(f"embedding of {sources}", missing, [*every, "all"])
    example = PLUS.join(f"FILE.h5:{part}" for part in parts_of(name))
    return ParameterError(
        f"there is no embedding {name!r} in one file; to join embeddings of several files, write "
        f"the file of each part: {example}"
    )
