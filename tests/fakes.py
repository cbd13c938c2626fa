"""What tests share: image files, comparisons of embeddings files, and doubles of backbones.

A double is registered where the package looks backbones and engines up: in the public tables
BACKBONES and ENGINES.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tlfeatures.features.backbone import BACKBONES, Backbone
from tlfeatures.features.engines import ENGINES
from tlfeatures.features.store import Reader, partial_path, read_header

Rows = tuple[list[str], dict[str, NDArray[np.float32]]]

# ---- files


def write_image(path: Path, seed: int, side: int = 12) -> None:
    """Write a lossless image that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 3, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    age(path)


def age(path: Path, seconds: float = 3600) -> None:
    """Give a file the time of an hour ago: `extract` trusts such a time, not one of just now."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def rows_of(file: Path) -> Rows:
    """Read the ids and all values of an embeddings file, those of variants too."""
    with Reader(file) as reader:
        header = reader.header
        rows = {name: reader.read(name) for name in header.embeddings}
        if header.variants:
            for name in header.embeddings:
                rows[f"variants of {name}"] = reader.read_variants(name, header.variants)
        return header.ids, rows


def assert_same(file: Path, expected: Rows) -> None:
    """Assert that a file has these ids and the same bits, and that no unfinished file is left."""
    (ids, rows), (expected_ids, expected_rows) = rows_of(file), expected
    assert (ids, rows.keys()) == (expected_ids, expected_rows.keys())
    for name, values in expected_rows.items():
        assert rows[name].dtype == np.float32
        np.testing.assert_array_equal(rows[name], values)
    assert not partial_path(file).exists()


def shards_of(file: Path) -> list[str]:
    """Name what is in a file's folder of shards."""
    folder = file.with_name(f"{file.name}.shards")
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_tidy(file: Path) -> None:
    """Assert that a virtual file's folder of shards holds its shards and nothing else."""
    shards = read_header(file).shards
    assert shards is not None
    assert shards_of(file) == sorted(shards.names)


# ---- backbones


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
