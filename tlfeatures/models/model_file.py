"""The model file: facts, a head, arrays. This docstring is the format's specification, version 1.

A model file is a zip archive. Nothing in it is executed, and nothing is unpacked to the disk.

Attack: somebody gives a crafted file to a person who loads it, to run code, read other files, fill
the memory or crash the process. Invariants, and the modules that check them:

- Only listed types are constructed, each in its listed way, and none of them runs code of the file
  (`allowed_types`).
- Exactly the described objects are constructed, and no array is larger than its member of the
  archive (`file_description`). This module limits the size of all members together.
- Numbers that compiled code uses as indices are within their arrays (`head_arrays`).
- The head gives one label, and one probability for each class of the facts (`head_checks`).

``tlfeatures.json``
    ``format`` ("tlfeatures model"), ``format_version`` (integer), ``spec``, ``embedding``,
    ``joined`` (of several backbones only, see `backbone_facts`), ``classes``, ``counts`` (images of
    each class), ``images`` (number of training images),
    ``columns`` (of the embedding), ``head`` (name or class), ``variants`` (number for each training
    image), ``versions``, ``outliers`` (the facts of an `OutlierDetector`), ``sketched`` (the
    columns of each backbone that ``copies.npy`` sketches). The command `fit` adds
    ``params``, ``tuned``, ``split``, ``included`` (tested splits that the head is also fitted on),
    ``folds``, ``groups``, ``copies``, ``compared`` (number of heads), ``tested`` (number of
    images), ``scores``, ``chosen`` (scores corrected for the choice of the best head), ``verdict``
    (sentences), ``sets`` (the facts of `PredictionSets`) and ``probabilities`` (of the class
    `Probabilities`), and with ``--at`` also ``operating_point``: the facts of an `OperatingPoint`,
    whose threshold the labels follow. `fact_schema` has the type of each fact. The command `info`
    reads only this member.
``schema.json`` and ``*.npy`` in the same folder
    The fitted head, as skops stores it (JSON and NumPy arrays).
``training/digests.npy``
    (images, 32) uint8: sha256 of the image files that the head was fitted on.
``training/sketch.npy``
    (at most 5,000, at most 1,024) float16: sketch of the training images, which new images are
    compared with; see `tlfeatures.models.outliers`.
``training/set_thresholds.npy``, ``training/set_misses.npy``
    (m,) float32 and (m,) float64, m at most 2,000, both strictly ascending, from 0 to 1: a set of
    labels has the label and all classes that are at least as probable as the threshold, and misses
    the right class with at most this probability; see `tlfeatures.models.prediction_sets`.
``training/copies.npy``
    (images, at most 512 for each backbone) int8: sketch of all training images, in which
    near-duplicates of them are found; see `tlfeatures.models.training_sketch`.

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
from tlfeatures.files import check_ending, file_target, replacing, sync
from tlfeatures.models.allowed_types import trusted_types
from tlfeatures.models.backbone_facts import check_backbones
from tlfeatures.models.fact_schema import wrong_facts
from tlfeatures.models.head_arrays import unsafe_part
from tlfeatures.models.head_checks import check_types, in_one_line, other_version, unusable_part

logger = logging.getLogger(__name__)

FORMAT = "tlfeatures model"
FORMAT_VERSION = 1

_FACTS_MEMBER = "tlfeatures.json"
_ARRAYS = "training"
_LARGEST = 8 * 2**30  # maximum size of all unpacked members, in bytes
_RATIO = 100  # maximum of unpacked to packed size; arrays of floats reach 2, deflate 1,000
_SMALL = 64 * 2**20  # the ratio is checked for larger unpacked sizes only, in bytes

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
        Path of the file, for messages.

    Raises
    ------
    ModelError
        If the head contains a type that can't be loaded.
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
    """Replace a model and its card, each in one step.

    Both files are written before one of them is replaced. The old card is removed before the model
    is replaced. After an interruption, a model therefore never has the card of another model.

    Parameters
    ----------
    path, card_path : Path
        Paths whose links are resolved.
    data : bytes
        Content of the model file; see `model_bytes`.
    card : str
        Text of the card.

    Raises
    ------
    ModelError
        If one of the files can't be written.
    """
    try:
        with replacing(card_path) as fresh_card:
            # The card contains the file's name, which may not be valid Unicode.
            fresh_card.write_bytes(card.encode("utf-8", "backslashreplace"))
            with replacing(path) as fresh:
                fresh.write_bytes(data)
                sync(fresh)  # raises errors of the disk before the old card is removed
                card_path.unlink(missing_ok=True)
    except OutputError as error:
        raise ModelError(str(error)) from error


def check_facts(facts: Mapping[str, Any]) -> None:
    """Check that the facts of a model can be saved and read again.

    Raises
    ------
    ModelError
        If the facts are not JSON data, or a fact is missing or has the wrong type.
    """
    try:
        wrong = wrong_facts(json.loads(json.dumps(facts)))
    except (TypeError, ValueError) as error:
        raise ModelError(f"the model's facts are not JSON data: {error}") from error
    if wrong:
        raise ModelError(
            f"the model's facts can't be saved: {', '.join(wrong)} missing or of the wrong type"
        )


def read_model(
    path: str | os.PathLike[str],
) -> tuple[Any, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a model file. Nothing in the file is executed.

    Returns
    -------
    head : fitted scikit-learn classifier
    facts : dict
        Facts of the model, without the format and its version.
    arrays : dict of name to ndarray
        Arrays of the folder `training`.

    Raises
    ------
    FormatError
        If the file is not a model file, has a newer version, or is damaged.
    ModelError
        If the file contains a type that is not trusted (the message names the type), or was written
        with another version of scikit-learn or of this package and can't be read.
    """
    path = Path(path)
    _check_is_file(path)
    data = path.read_bytes()  # read once, because the file could change after the checks
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
            warnings.simplefilter("ignore")  # `_warn_about_version` warns about another version
            head = skops.io.loads(data, trusted=sorted(trusted_types()))
        reason = unsafe_part(head) or unusable_part(head, facts)
    except Exception as error:  # a damaged file can raise any error in skops
        raise _unreadable(path, facts, in_one_line(error)) from error
    if reason:
        raise _unreadable(path, facts, f"it has {reason}")
    return head


def _unreadable(path: Path, facts: Mapping[str, Any], reason: str) -> ModelError | FormatError:
    """Return an error about another version, or, with the same version, about a damaged file."""
    other = other_version(path, facts, ("scikit-learn", "tlfeatures"))
    return other or FormatError(f"{path} is a damaged model file: {reason}")


def _read_arrays(path: Path, archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    """Check the checksums of all members, and read the arrays that are not part of the head."""
    names = [name for name in archive.namelist() if name.startswith(f"{_ARRAYS}/")]
    try:
        flipped = archive.testzip()
        if flipped is not None:
            raise ValueError(f"the bytes of {flipped} have changed")
        return {
            PurePosixPath(name).stem: np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in names
        }
    except Exception as error:  # a damaged zip raises many types
        raise FormatError(f"{path} is a damaged model file: {in_one_line(error)}") from error


def read_model_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the facts in a model file without constructing anything from it.

    Raises
    ------
    ParameterError
        If the file does not exist.
    FormatError
        If the file is not a model file, has a newer version, or is damaged.
    """
    path = Path(path)
    _check_is_file(path)
    return _read_facts(path, path)


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ParameterError(
            f"{path} {what}, expected a model file; create one with `tlfeatures fit FILE.h5 -o "
            f"{path.stem}.model`"
        )
    if path.stat().st_size > _LARGEST:
        raise FormatError(f"{path} is not a model file: it has {path.stat().st_size:,} bytes")


def _read_facts(path: Path, source: Path | bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source)) as archive:
            too_large = _too_large(archive, path.stat().st_size)
            facts = None if too_large else json.loads(archive.read(_FACTS_MEMBER))
    except Exception as error:  # a damaged zip raises many types, from zlib.error to RuntimeError
        raise FormatError(f"{path} is not a model file of `tlfeatures fit -o`") from error
    if too_large:
        raise FormatError(f"{path} is not a model file of `tlfeatures fit -o`: {too_large}")
    return _checked(path, facts)


def _too_large(archive: zipfile.ZipFile, packed: int) -> str | None:
    """Return the reason if the members are too large for the memory, otherwise None."""
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _LARGEST or unpacked > max(_SMALL, _RATIO * packed):
        return f"its {packed:,} bytes unpack to {unpacked:,}"
    return None


def _checked(path: Path, facts: Any) -> dict[str, Any]:
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise FormatError(f"{path} is not a model file of `tlfeatures fit -o`")
    version = facts.get("format_version")
    if version != FORMAT_VERSION:
        raise FormatError(
            f"{path} has format version {version}, expected version {FORMAT_VERSION}; update with "
            "`pip install --upgrade tlfeatures`"
        )
    wrong = wrong_facts(facts)
    if wrong:
        raise FormatError(f"{path} is a damaged model file: {', '.join(wrong)} missing or wrong")
    try:
        check_backbones(facts)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    return facts


def check_model_target(path: str | os.PathLike[str]) -> Path:
    """Check that a model can be saved at a path without replacing a file of another type.

    Returns
    -------
    Path
        The path with links resolved, so that a link remains a link.

    Raises
    ------
    ParameterError
        If the path is a folder or a file that isn't a model, or its folder doesn't exist.
    """
    check_ending(path, "a model")
    target = file_target(path, "best.model", "the model")
    if target.exists():
        try:
            read_model_info(target)
        except FormatError as error:
            raise ParameterError(
                f"{path} exists and is not a model of this version; give another name, or remove "
                "the file"
            ) from error
    return target


def _warn_about_version(path: Path, facts: dict[str, Any]) -> None:
    fitted = facts["versions"].get("scikit-learn")
    installed = metadata.version("scikit-learn")
    if fitted != installed:
        logger.warning(
            "%s was fitted with scikit-learn %s, but %s is installed; fit it again, or check it "
            "with `tlfeatures evaluate`",
            path,
            fitted,
            installed,
        )
