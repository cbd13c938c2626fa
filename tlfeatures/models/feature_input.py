"""Features to label instead of images: arrays, features files and embeddings files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import DatasetError, ModelError
from tlfeatures.features.combined import join, parts_of
from tlfeatures.features.exchange.open_features import holds_features, ids_of, open_features
from tlfeatures.features.exchange.stored_values import to_stored
from tlfeatures.features.exchange.table import FeatureTable
from tlfeatures.features.file.checks import is_of_another_program
from tlfeatures.features.file.reader import is_embeddings_file, open_embeddings
from tlfeatures.features.sources.endings import is_image_by_name
from tlfeatures.models.backbone_facts import check_same_settings
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.names import some_of

Rows = NDArray[np.float32]


def features_file(model: FittedHead, inputs: Sequence[str | os.PathLike[str]]) -> Path | None:
    """Return the file of features among the inputs of `predict`; None for images.

    Any single file but an image is one of features for a model of imported embeddings.

    Raises
    ------
    ModelError
        If such a model gets anything else than one file.
    """
    path = Path(inputs[0])
    is_imported = any(part.spec.imported is not None for part in model.backbones)
    may_be_features = len(inputs) == 1 and path.is_file() and not is_image_by_name(str(path))
    if may_be_features and (is_imported or holds_features(path, parts_of(model.embedding))):
        return path
    if is_imported:
        raise ModelError(
            "the model was fitted on imported embeddings, so that it can't label images: compute "
            "their embeddings by the program that computed the others, and give its features file, "
            "as in `tlfeatures predict MODEL FEATURES`"
        )
    return None


def read_features(
    model: FittedHead, path: str | os.PathLike[str], columns: Mapping[str, str] | None = None
) -> tuple[list[str], Rows]:
    """Read the ids and the embeddings, of shape (n, d), that a model needs from a file.

    Parameters
    ----------
    model : FittedHead
    path : path
        A features file that `import` reads, or an embeddings file with the model's spec.
    columns : mapping, optional
        See `open_features`.

    Raises
    ------
    ModelError
        If it has another embedding, or another number of columns.
    SpecError
        If an embeddings file was made with other settings.
    DatasetError, ParameterError, StoreError
        If the file can't be read.
    """
    path = Path(path)
    if len(model.backbones) > 1:
        raise ModelError(
            f"the model's embedding is joined over several files ({model.embedding}), which no "
            "file has; give the array X of load_dataset to Model.predict_features"
        )
    if is_embeddings_file(path) and not is_of_another_program(path):
        ids, X = _of_embeddings(model, path)
    else:
        ids, X = _of_table(model, open_features(path, columns=columns))
    check_columns_of(model, X, path)
    return ids, X


def check_columns_of(model: FittedHead, X: Rows, named: object) -> None:
    """Raise `ModelError` if embeddings have another number of columns than the model's."""
    if X.shape[1] != model.info["columns"]:
        raise ModelError(
            f"{named} has {X.shape[1]:,} columns, but the model needs the "
            f"{model.info['columns']:,} of {model.embedding}; give embeddings that were computed "
            "in the same way as those that the model was fitted on"
        )


def _of_embeddings(model: FittedHead, path: Path) -> tuple[list[str], Rows]:
    """Read the rows of an embeddings file."""
    parts = parts_of(model.embedding)
    with open_embeddings(path) as reader:
        header = reader.header
        (own,) = model.backbones
        check_same_settings(
            header.spec,
            own.spec,
            str(header.path),
            "give images or features that were computed with the same settings",
        )
        _check_names(model, list(header.embeddings), path)
        X = join({part: reader.read(part) for part in parts}, model.embedding)
    return [header.ids[row] for row in np.flatnonzero(header.done).tolist()], X


def _check_names(model: FittedHead, names: Sequence[str], path: Path) -> None:
    missing = [part for part in parts_of(model.embedding) if part not in names]
    if missing:
        raise ModelError(
            f"{path} has the embedding {some_of(names, 5)}, but the model needs the embedding "
            f"{missing[0]}; if these are the same, rename the array or the columns to {missing[0]}"
        )


def _check_order(expected: str | None, table: FeatureTable) -> None:
    """Raise `ModelError` if columns with names are others than those the model was fitted on."""
    found = table.listed_columns
    if None not in (expected, found) and expected != found:
        raise ModelError(
            f"{table.path} has the columns {found}, but the model needs {expected}, in this order"
        )


def _of_table(model: FittedHead, table: FeatureTable) -> tuple[list[str], Rows]:
    """Read the rows of a features file. An embedding without a name is that of the model.

    This holds only for a model that was fitted on imported embeddings: those of a named network
    must say what they are.
    """
    (part,) = model.backbones
    parts = parts_of(model.embedding)
    if part.spec.imported is not None and len(parts) == 1:
        _check_order(part.spec.imported.columns, table)
        table = table.renamed("", parts[0])
    table = table.renamed("", "features")
    _check_names(model, list(table.widths), table.path)
    ids = ids_of(table)
    blocks: list[Rows] = []
    done = 0
    for block in table.blocks():
        values = {
            name: to_stored(block[name], "float32", ids[done:], name, table.path) for name in parts
        }
        blocks.append(join(values, model.embedding))
        done += len(blocks[-1])
    if done != table.rows:
        raise DatasetError(f"{table.path} has {done:,} rows of values, expected {table.rows:,}")
    return ids, np.concatenate(blocks)
