"""Speeds of backbones that were measured on this machine and kept, for lists."""

from __future__ import annotations

from dataclasses import dataclass

from tlfeatures.features.engines.choose import ENGINES
from tlfeatures.features.engines.speeds import read_all


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


def measured_rates() -> dict[str, tuple[Rate, ...]]:
    """Return the rates of each backbone that was measured, the fastest first."""
    rates: dict[str, list[Rate]] = {}
    for workload, speeds in read_all(ENGINES).items():
        for (engine, precision), speed in speeds.items():
            rate = Rate(
                engine=engine,
                precision=precision,
                size=(workload.height, workload.width),
                layer=workload.layer,
                images_per_second=speed.images_per_second,
                cosine=speed.cosine,
            )
            rates.setdefault(workload.backbone, []).append(rate)
    return {
        backbone: tuple(sorted(listed, key=lambda rate: -rate.images_per_second))
        for backbone, listed in rates.items()
    }
