"""Labels of an embeddings file: those that the source of its rows states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tlfeatures.errors import DatasetError, ParameterError, SourceError
from tlfeatures.features.exchange.open_features import ids_of, open_features
from tlfeatures.features.exchange.table import FeatureTable, sha256_of, sha256_of_file
from tlfeatures.features.file.format import Header
from tlfeatures.features.imported import Imported
from tlfeatures.features.sources.folder_labels import LabelRow, labels_below
from tlfeatures.features.sources.open_source import stated_labels


def labels_of_header(
    header: Header, columns: Mapping[str, str] | None = None
) -> dict[str, LabelRow] | None:
    """Read the labels that the source of an embeddings file states, or those of several folders.

    None if the labels are the names of the top folders in the ids.

    Parameters
    ----------
    header : Header
    columns : mapping of role to column, optional
        Other columns of a table with the paths of images, see `stated_labels`.

    Raises
    ------
    SourceError
        If the source stated labels when the file was made, and can't be read now.
    """
    if header.spec.imported is None:
        labels = stated_labels(header.provenance, columns)
        parts = header.provenance.get("name_parts")
        return labels_below(header.ids, parts) if labels is None and parts else labels
    if not header.provenance.get("states_labels"):
        return None
    source, ids = header.provenance.get("source"), header.provenance.get("ids")
    try:
        if not isinstance(source, str):
            raise ParameterError("the file doesn't say where its rows come from")
        table = open_features(source, ids=ids, columns=header.provenance.get("columns"))
        _check_order(header, header.spec.imported, table, ids)
    except (DatasetError, ParameterError) as error:
        raise SourceError(
            f"{header.path} was imported from a features file with labels, which can't be read "
            f"now: {error}; give --labels FILE"
        ) from error
    return _labels_of(table)


def _check_order(header: Header, imported: Imported, table: FeatureTable, ids: str | None) -> None:
    """Raise `DatasetError` if rows that are not named in their own file may have other ids now."""
    changed = []
    if ids is not None and sha256_of_file(Path(ids)) != header.provenance.get("ids_sha256"):
        changed.append(ids)
    if (ids is not None or table.facts.id is None) and sha256_of(table) != imported.sha256:
        changed.append(str(table.path))
    if changed:
        raise DatasetError(
            f"{changed[0]} has changed since, and the features file has no ids of its rows; import "
            "it again"
        )


def labels_of_features(
    path: str | Path, *, ids: str | Path | None = None, columns: dict[str, str] | None = None
) -> dict[str, LabelRow] | None:
    """Read labels, groups and splits of a features file by the ids of its rows.

    Parameters
    ----------
    path, ids, columns
        See `open_features`.

    Returns
    -------
    dict of id to LabelRow, or None
        None if the file has no labels, groups or splits. Without labels, they are those of the
        folders in the ids.

    Raises
    ------
    DatasetError, ParameterError
        See `open_features`.
    """
    return _labels_of(open_features(path, ids=ids, columns=columns))


def _labels_of(table: FeatureTable) -> dict[str, LabelRow] | None:
    stated = ids_of(table)
    rows = table.facts.label_rows(stated)
    return None if rows is None else dict(zip(stated, rows, strict=True))
