"""Refuse heads that a model file can't hold, or that don't fit the facts in it.

Attack: a head of allowed types has parts that don't fit each other or the facts, and fails later,
far from its cause. Invariant: a head that was loaded labels a row as the facts state.
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
from tlfeatures.model_selection.threads import one_thread
from tlfeatures.models.file_description import forged_part, untrusted_types


def check_head(name: str, head: Any) -> None:
    """Refuse a fitted head that a model file can't hold.

    Raises
    ------
    ModelError
        With the types that a model file may not hold.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(head))) as archive:
        wrong = untrusted_types(json.loads(archive.read("schema.json")))
    if wrong:
        raise ModelError(
            f"head {name} can't be kept in a model file, which may not hold {', '.join(wrong)}: "
            "take another head, or leave out -o"
        )


def check_types(
    archive: zipfile.ZipFile, named: Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Refuse types and descriptions that a model file may not hold.

    Parameters
    ----------
    archive : ZipFile
        The model file.
    named : Path
        Its name, for messages.
    facts : mapping, optional
        Facts of a file that is read; their versions may explain an unknown type.

    Raises
    ------
    ModelError
        With the types, or the other version that made the file.
    FormatError
        If the description is damaged or forged.
    """
    try:
        schema = json.loads(archive.read("schema.json"))
        wrong = untrusted_types(schema)
        forged = None if wrong else forged_part(archive, schema)
    except Exception as error:  # no such member, no JSON, or nested without end
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
            f"{named} holds types that are not trusted: {', '.join(wrong)}; only heads of known "
            "types can be kept in a file"
        )
    if forged:
        raise FormatError(f"{named} is a damaged model file: it has {forged}")


def other_version(
    path: Path, facts: Mapping[str, Any], packages: Sequence[str]
) -> ModelError | None:
    """Return an error if the file was made with another version of one of the packages."""
    for package in packages:
        version, installed = facts["versions"].get(package), metadata.version(package)
        if version not in (None, installed):
            return ModelError(
                f"{path} was made with {package} {version}, this is {installed}, "
                f"which can't read it: install {package}=={version}, or fit the head again with "
                "`tlfeatures fit`"
            )
    return None


def unusable_part(head: Any, facts: Mapping[str, Any]) -> str | None:
    """Describe why a head can't label embeddings as the facts state; None if it can.

    It labels one row of zeros: the parts of a damaged head may be valid and not fit each other.
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
