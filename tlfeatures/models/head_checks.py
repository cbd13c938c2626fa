"""Checks that a model file can contain a head, and that a head fits the facts of its file.

Attack: a head of allowed types has parts that don't fit each other or the facts, so that it fails
later for an unclear reason. Invariant: a loaded head labels a row as the facts state.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.errors import FormatError, ModelError
from tlfeatures.models.file_description import forged_part, untrusted_types
from tlfeatures.threads import one_thread


def check_head(name: str, head: Any) -> None:
    """Check that a fitted head can be saved in a model file.

    Raises
    ------
    ModelError
        If the head contains types that a model file may not contain. The message names them.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(head))) as archive:
        wrong = untrusted_types(json.loads(archive.read("schema.json")))
    if wrong:
        raise ModelError(
            f"head {name} can't be saved, because a model file may not contain "
            f"{', '.join(wrong)}; choose another head, or omit -o"
        )


def check_types(
    archive: zipfile.ZipFile, named: Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Check that all types and descriptions of a model file are allowed.

    Parameters
    ----------
    archive : ZipFile
        The model file.
    named : Path
        Path of the file, for messages.
    facts : mapping, optional
        Facts of a file that is read. Their versions may explain an unknown type.

    Raises
    ------
    ModelError
        If a type is not allowed. The message names the types, or the version that wrote the file.
    FormatError
        If the description is damaged or forged.
    """
    try:
        schema = json.loads(archive.read("schema.json"))
        wrong = untrusted_types(schema)
        forged = None if wrong else forged_part(archive, schema)
    except Exception as error:  # a member is missing, is not JSON, or is nested too deeply
        raise FormatError(f"{named} is a damaged model file: {in_one_line(error)}") from error
    if wrong:
        modules = {name.partition(".")[0] for name in wrong}
        package_of = {"sklearn": "scikit-learn", "tlfeatures": "tlfeatures"}
        if facts is not None and modules <= set(package_of):  # types differ between versions
            packages = [package_of[module] for module in sorted(modules)]
            other = other_version(named, facts, packages)
            if other is not None:
                raise other
        raise ModelError(
            f"{named} contains types that are not trusted: {', '.join(wrong)}; use a file that "
            "`tlfeatures fit -o` has written"
        )
    if forged:
        raise FormatError(f"{named} is a damaged model file: it has {forged}")


def other_version(
    path: Path, facts: Mapping[str, Any], packages: Sequence[str]
) -> ModelError | None:
    """Return an error if another version of one of the packages wrote the file, otherwise None."""
    for package in packages:
        version, installed = facts["versions"].get(package), metadata.version(package)
        if version not in (None, installed):
            return ModelError(
                f"{path} was written with {package} {version} and can't be read with {installed}; "
                f"install {package}=={version}, or fit the head again with `tlfeatures fit`"
            )
    return None


def unusable_part(head: Any, facts: Mapping[str, Any]) -> str | None:
    """Return the reason why a head can't label embeddings as the facts state; None if it can.

    The head labels one row of zeros, because valid parts of a damaged head may not fit each other.
    """
    columns, classes = facts["columns"], len(facts["classes"])
    if getattr(head, "n_features_in_", columns) != columns:
        return f"a head for other embeddings than its {columns} columns"
    with warnings.catch_warnings(), np.errstate(all="ignore"), one_thread():
        warnings.simplefilter("ignore")
        row = np.zeros((1, columns), np.float32)
        table, labels = np.asarray(head.predict_proba(row)), np.asarray(head.predict(row))
    if labels.shape != (1,):
        return "a head that gives no label"
    if table.shape != (1, classes) or table.dtype.kind != "f":
        return f"a head that gives no probability of each of its {classes} classes"
    return None


def in_one_line(error: Exception) -> str:
    """Return the message of an error without line breaks."""
    return " ".join(str(error).split())
