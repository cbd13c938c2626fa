"""Speeds of backbones that were measured on this machine and kept, for lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlfeatures.features.engines.choose import ENGINES, LEAST_COSINE
from tlfeatures.features.engines.speeds import read, read_all, workload_of
from tlfeatures.features.spec import Spec


@dataclass(frozen=True)
class Rate:
    """How fast an engine computes a backbone on this machine.

    Attributes
    ----------
    engine, precision : str
    size : (int, int)
        Height and width of the images, in pixels.
    layer : str
        The deepest layer that was computed.
    images_per_second : float
        Of the backbone alone, without reading and decoding.
    cosine : float or None
        Least cosine of a row to the same row in float32; None if it wasn't compared.
    """

    engine: str
    precision: str
    size: tuple[int, int]
    layer: str
    images_per_second: float
    cosine: float | None

    @property
    def close_to_float32(self) -> bool:
        """Whether the rows are those of float32, or so near that `auto` takes this precision."""
        if self.precision == "int8":
            return False
        return self.precision == "float32" or (self.cosine or 0.0) >= LEAST_COSINE


def measured_rates() -> dict[str, tuple[Rate, ...]]:
    """Return the rates of each backbone that was measured, the fastest first."""
    rates: dict[str, dict[tuple[Any, ...], Rate]] = {}
    for workload, speeds in read_all(ENGINES).items():
        size = workload.height, workload.width
        for way, speed in speeds.items():
            rate = Rate(*way, size, workload.layer, speed.images_per_second, speed.cosine)
            # Other weights of the same network take as long.
            rates.setdefault(workload.backbone, {})[way, size, workload.layer] = rate
    return {
        backbone: tuple(sorted(listed.values(), key=lambda rate: -rate.images_per_second))
        for backbone, listed in rates.items()
    }


def rate_of(spec: Spec, names: tuple[str, ...]) -> float | None:
    """Return the images per second that were measured of a spec, with its very weights and engine.

    Parameters
    ----------
    spec : Spec
    names : tuple of str
        The embeddings, `LAYER.POOLING`.

    Returns
    -------
    float or None
        None if it wasn't measured on this machine, or this version doesn't have the backbone.
    """
    if spec.known_backbone is None:
        return None
    speed = read(workload_of(spec, names), ENGINES).get((spec.engine, spec.precision))
    return None if speed is None else speed.images_per_second
