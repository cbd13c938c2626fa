"""Doubles that tests register where the package looks backbones up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tlfeatures.features.backbone import BACKBONES, Backbone
from tlfeatures.features.engines import ENGINES


def use_backbone(
    patch: pytest.MonkeyPatch, load: Callable[[Sequence[str]], Backbone], name: str = "pixels"
) -> None:
    """Let `load` give the backbone `name`, which keeps its layers and its preprocessing."""
    patch.setitem(BACKBONES, name, replace(BACKBONES[name], load=load))


def use_engine(
    patch: pytest.MonkeyPatch,
    load: Callable[[Sequence[str]], Backbone],
    name: str = "keras",
) -> None:
    """Let `load` give every backbone that the engine `name` computes; weights are still read."""

    def load_by_name(spec, names, device, weights, threads):
        return load(names)

    patch.setitem(ENGINES, name, replace(ENGINES[name], load=load_by_name))
