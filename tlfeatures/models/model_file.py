"""The model file: facts, a head, arrays. This docstring is the format's specification, version 1.

A zip archive. Nothing in it is executed, and nothing is ever unpacked to the disk.

Attack: somebody gives a crafted file to a person who loads it, to run code, read other files, fill
the memory or crash the process. Invariants, and where they are held:

- Only listed types are constructed, each in its listed way; none of them runs code of the file
  (`allowed_types`).
- What is described is what is constructed, and no array is larger than its member of the archive
  (`file_description`). All members together are limited here.
- Numbers that compiled code follows stay within their arrays (`head_arrays`).
- The head gives one label and one probability for each class of the facts (`head_checks`).

``tlfeatures.json``
    ``format`` ("tlfeatures model"), ``format_version`` (integer), ``spec``, ``embedding``,
    ``classes``, ``counts`` (images a class), ``images`` (fitted on), ``columns`` (of the
    embedding), ``head`` (name or class), ``variants`` (of each image, fitted on, too),
    ``versions``, ``outliers`` (threshold, share, neighbour,
    columns); the command `fit` adds ``params``, ``tuned``, ``split``, ``folds``, ``groups``,
    ``copies``, ``compared`` (heads), ``tested`` (images) and ``scores``. This member alone
    answers `info`.
``schema.json`` and ``*.npy`` beside it
    The fitted head, as skops keeps it (JSON and NumPy arrays).
``training/digests.npy``
    (images, 32) uint8: sha256 of the image files that the head was fitted on.
``training/sketch.npy``
    (at most 5,000, at most 1,024) float16: what new images are compared with, see
    `tlfeatures.models.outliers`.

To change the format after the first release: increase ``FORMAT_VERSION``, keep reading every
released version, and add a file of the old version to the tests' fixtures.
"""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import FormatError, ModelError, OutputError, ParameterError
from tlfeatures.features.spec import Spec
from tlfeatures.files import check_ending, file_target, replacing, sync
from tlfeatures.models.allowed_types import trusted_types
from tlfeatures.models.fact_schema import wrong_facts
from tlfeatures.models.head_arrays import unsafe_part
from tlfeatures.models.head_checks import check_types, in_one_line, other_version, unusable_part

logger = logging.getLogger(__name__)

FORMAT = "tlfeatures model"
FORMAT_VERSION = 1

_FACTS_MEMBER = "tlfeatures.json"
_ARRAYS = "training"
_LARGEST = 8 * 2**30  # bytes of all unpacked members
_RATIO = 100  # largest unpacked to packed; arrays of floats reach 2, deflate can reach 1,000
_SMALL = 64 * 2**20  # bytes; the ratio of a smaller file doesn't matter

Arrays = Mapping[str, NDArray[Any]]


def model_bytes(head: Any, facts: Mapping[str, Any], arrays: Arrays, named: Path) -> bytes:
    """Pack a model as the bytes of its file.

    Parameters
    ----------
    head : fitted scikit-learn classifier
    facts : mapping
        JSON-ready.
    arrays : mapping of name to ndarray
    named : Path
        Where the file shall be, for the message.

    Raises
    ------
    ModelError
        If the head holds a type that loading would refuse.
    """
    import skops.io

    everything = {"format": FORMAT, "format_version": FORMAT_VERSION, **facts}
    packed = io.BytesIO(skops.io.dumps(head, compression=zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        check_types(archive, named)
        archive.writestr(_FACTS_MEMBER, json.dumps(everything, indent=1))
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            archive.writestr(f"{_ARRAYS}/{name}.npy", member.getvalue())
    return packed.getvalue()


def write_model(path: Path, data: bytes, card_path: Path, card: str) -> None:
    """Replace a model and its card, each as a whole.

    Both are written before one of them is replaced, and the old card is removed before the model is
    replaced: if this is interrupted, no model is left with the card of another one.

    Parameters
    ----------
    path, card_path : Path
        Links resolved.
    data : bytes
        See `model_bytes`.
    card : str

    Raises
    ------
    ModelError
        If one of them can't be written.
    """
    try:
        with replacing(card_path) as fresh_card:
            # A file's name can be any bytes, and stands in the card.
            fresh_card.write_bytes(card.encode("utf-8", "backslashreplace"))
            with replacing(path) as fresh:
                fresh.write_bytes(data)
                sync(fresh)  # an error of the disk is raised before the old card is removed
                card_path.unlink(missing_ok=True)
    except OutputError as error:
        raise ModelError(str(error)) from error


def check_facts(facts: Mapping[str, Any]) -> None:
    """Refuse facts of a caller that no reader would accept.

    Raises
    ------
    ModelError
    """
    try:
        wrong = wrong_facts(json.loads(json.dumps(facts)))
    except (TypeError, ValueError) as error:
        raise ModelError(f"the model's facts are no JSON data: {error}") from error
    if wrong:
        raise ModelError(
            f"the model's facts can't be saved: {', '.join(wrong)} missing, or of another kind "
            "than a model file has"
        )


def read_model(
    path: str | os.PathLike[str],
) -> tuple[Any, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a model file; nothing in it is executed.

    Returns
    -------
    head : fitted scikit-learn classifier
    facts : dict
        Without those of the format itself.
    arrays : dict of name to ndarray
        Those of the folder `training`.

    Raises
    ------
    FormatError
        If it is no model file, one of a newer version, or a damaged one.
    ModelError
        If it holds a type that may not be in such a file; the type is named. If it was made with
        another version of scikit-learn, or of this package, and can't be read with those here.
    """
    path = Path(path)
    _check_is_file(path)
    data = path.read_bytes()  # once, so that what is checked is what is constructed
    facts = _read_facts(path, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        arrays = _read_arrays(path, archive)
        check_types(archive, path, facts)
    head = _constructed(path, data, facts)
    _warn_about_version(path, facts)
    return head, {k: v for k, v in facts.items() if k not in ("format", "format_version")}, arrays


def _constructed(path: Path, data: bytes, facts: Mapping[str, Any]) -> Any:
    """Construct the head that the file describes, and check it."""
    import skops.io

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `_warn_about_version` warns of another version
            head = skops.io.loads(data, trusted=sorted(trusted_types()))
        reason = unsafe_part(head) or unusable_part(head, facts)
    except Exception as error:  # a damaged file can fail anywhere in skops
        raise _unreadable(path, facts, in_one_line(error)) from error
    if reason:
        raise _unreadable(path, facts, f"it has {reason}")
    return head


def _unreadable(path: Path, facts: Mapping[str, Any], reason: str) -> ModelError | FormatError:
    """Return an error that names the other version, if there is one; else the file is damaged."""
    other = other_version(path, facts, ("scikit-learn", "tlfeatures"))
    return other or FormatError(f"{path} is a damaged model file: {reason}")


def _read_arrays(path: Path, archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    """Read the arrays besides the head, after checking the checksums of all members."""
    names = [name for name in archive.namelist() if name.startswith(f"{_ARRAYS}/")]
    try:
        flipped = archive.testzip()
        if flipped is not None:
            raise ValueError(f"the bytes of {flipped} have changed")
        return {
            PurePosixPath(name).stem: np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in names
        }
    except Exception as error:  # a damaged zip raises anything
        raise FormatError(f"{path} is a damaged model file: {in_one_line(error)}") from error


def read_model_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the facts in a model file without constructing anything from it.

    Raises
    ------
    ParameterError
        If there is no such file.
    FormatError
        If it is no model file, one of a newer version, or a damaged one.
    """
    path = Path(path)
    _check_is_file(path)
    return _read_facts(path, path)


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ParameterError(
            f"{path} {what}; a model is made by `tlfeatures fit FILE.h5 -o {path.stem}.model`"
        )
    if path.stat().st_size > _LARGEST:
        raise FormatError(f"{path} is no model file: it has {path.stat().st_size:,} bytes")


def _read_facts(path: Path, source: Path | bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source)) as archive:
            too_large = _too_large(archive, path.stat().st_size)
            facts = None if too_large else json.loads(archive.read(_FACTS_MEMBER))
    except Exception as error:  # a damaged zip raises anything, from zlib.error to RuntimeError
        raise FormatError(f"{path} is not a model file that `tlfeatures fit -o` made") from error
    if too_large:
        raise FormatError(f"{path} is not a model file that `tlfeatures fit -o` made: {too_large}")
    return _checked(path, facts)


def _too_large(archive: zipfile.ZipFile, packed: int) -> str | None:
    """Describe members that would fill the memory; None if there are none."""
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _LARGEST or unpacked > max(_SMALL, _RATIO * packed):
        return f"its {packed:,} bytes unpack to {unpacked:,}"
    return None


def _checked(path: Path, facts: Any) -> dict[str, Any]:
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise FormatError(f"{path} is not a model file that `tlfeatures fit -o` made")
    version = facts.get("format_version")
    if version != FORMAT_VERSION:
        raise FormatError(
            f"{path} has format version {version}, this tlfeatures reads version "
            f"{FORMAT_VERSION}: update it with `pip install --upgrade tlfeatures`"
        )
    wrong = wrong_facts(facts)
    if wrong:
        raise FormatError(f"{path} is a damaged model file: {', '.join(wrong)} missing or wrong")
    try:
        Spec.from_dict(facts["spec"])
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    return facts


def check_model_target(path: str | os.PathLike[str]) -> Path:
    """Refuse a path at which saving a model would destroy something else.

    Returns
    -------
    Path
        With links resolved, so that a link remains a link.

    Raises
    ------
    ParameterError
        If it is a folder, its folder doesn't exist, or it is a file that isn't a model.
    """
    check_ending(path, "a model")
    target = file_target(path, "best.model", "the model")
    if target.exists():
        try:
            read_model_info(target)
        except FormatError as error:
            raise ParameterError(
                f"{path} exists and is no model of this version; give another name, or remove it"
            ) from error
    return target


def _warn_about_version(path: Path, facts: dict[str, Any]) -> None:
    fitted = facts["versions"].get("scikit-learn")
    installed = metadata.version("scikit-learn")
    if fitted != installed:
        logger.warning(
            "%s was fitted with scikit-learn %s, this is %s: fit it again, or check it with "
            "`tlfeatures evaluate`",
            path,
            fitted,
            installed,
        )
