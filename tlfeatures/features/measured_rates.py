"""Speeds of backbones that were measured on this machine and kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """How fast an engine computes a backbone on this machine.

    Attributes
    ----------
    engine, precision : str
    size : (int, int)
        Height and width of the images, in pixels.
    images_per_second : float
        Of the backbone alone, without reading and decoding.
    """

    engine: str
    precision: str
    size: tuple[int, int]
    images_per_second: float


def measured_rates() -> dict[str, tuple[Rate, ...]]:
    """Return the rates of each backbone that was measured, the fastest first."""
    return {}
