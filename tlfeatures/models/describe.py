"""Describing an embeddings file or a model file, without executing or constructing its content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tlfeatures.errors import FormatError, ParameterError
from tlfeatures.features.file.format import Header
from tlfeatures.features.file.lock import partial_path
from tlfeatures.features.file.reader import is_embeddings_file, read_header
from tlfeatures.features.file.sharded import Shards
from tlfeatures.features.sources.folder_labels import count_labels, count_rows, labels_below
from tlfeatures.models.model_file import read_model_info

_PROVENANCE = ("versions", "source", "commands")
_ZIP = b"PK"


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe an embeddings file or a model file.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict
        JSON-ready facts. `format` is "tlfeatures embeddings" or "tlfeatures model".

    Raises
    ------
    ParameterError
        If the file doesn't exist.
    FormatError
        If the file is neither an embeddings file nor a model file.
    """
    path = Path(path)
    if not path.is_file():
        raise ParameterError(f"{path} is not a file; expected an embeddings file or a model file")
    if is_embeddings_file(path):
        return _describe_embeddings(path)
    with path.open("rb") as file:
        is_zip = file.read(2) == _ZIP
    if is_zip:
        return {"file": str(path), **read_model_info(path)}
    raise FormatError(
        f"{path} is neither an embeddings file (of `tlfeatures extract`) nor a model file (of "
        "`tlfeatures fit -o`)"
    )


def _describe_shards(shards: Shards) -> dict[str, Any]:
    return {"folder": shards.folder, "count": len(shards.names), "bytes": sum(shards.sizes)}


def _source_of_labels(header: Header) -> dict[str, Any]:
    """Say where labels are if the folders don't name them."""
    source = header.provenance.get("source")
    return {"labels": source} if header.provenance.get("states_labels") else {}


def _count_labels(header: Header) -> tuple[dict[str, int], dict[str, int]]:
    """Count the images of each class and split by their ids; a table's labels aren't read."""
    parts = header.provenance.get("name_parts")
    below = labels_below(header.ids, parts) if parts else None
    if below is None:
        return count_labels(header.ids)
    return count_rows((row, 1) for row in below.values())


def _describe_embeddings(path: Path) -> dict[str, Any]:
    header = read_header(path)
    classes, splits = _count_labels(header)
    done = int(header.done.sum())
    failures = header.failures
    partial = partial_path(path.resolve())  # for a link, next to the file that it points to
    return {
        "file": str(path),
        "format": "tlfeatures embeddings",
        "images": len(header.ids),
        "done": done,
        "waiting": len(header.ids) - done - len(failures),
        "failed": [{"id": id_, "reason": reason} for id_, reason in failures.items()],
        "classes": classes,
        "splits": splits,
        **_source_of_labels(header),
        "embeddings": header.embeddings,
        "dtype": header.dtype,
        "shards": None if header.shards is None else _describe_shards(header.shards),
        "spec": header.spec.to_dict(),
        "unfinished_update": str(partial) if partial.exists() else None,
        **{name: header.provenance[name] for name in _PROVENANCE if name in header.provenance},
    }
