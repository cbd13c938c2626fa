"""Measuring how fast each installed engine computes VGG16 on this machine, by its real weights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.kept_weights import find_kept_weights
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.measure_engines import choose_measured
from tlfeatures.features.settings import DEFAULT_SIZE, Settings, make_spec

_COUNT = 10**9  # images of the supposed work: enough to repay the measuring of every engine
_SEED = 0


def measure_vgg16() -> None:
    """Measure the engines on this machine's CPU in float32 and bfloat16, and keep the speeds.

    Nothing is downloaded. An engine that fails is left out.

    Raises
    ------
    WeightsError
        If the weights aren't on this machine.
    EngineError
        If the engine fails that is taken without measuring.
    """
    kept = find_kept_weights(VGG16.name)
    if kept is None or kept.damage is not None:
        raise WeightsError(
            "the weights of VGG16 are not on this machine: `tlfeatures extract` downloads them"
        )
    size = (DEFAULT_SIZE, DEFAULT_SIZE)
    choose = partial(
        choose_measured,
        images=_photographs(),
        count=_COUNT,
        options=ComputeOptions(device="cpu"),
        again=True,
    )
    settings = Settings(backbone=VGG16.name, weights=kept.path)
    make_spec(settings, VGG16.name, size, [str(VGG16.default_embedding)], "cpu", choose=choose)


def _photographs() -> Iterator[ImageToRead[int]]:
    """Yield crops of the photographs that scikit-learn has, without end."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    random = np.random.default_rng(_SEED)
    number = 0
    while True:
        photograph = photographs[number % len(photographs)]
        top, left = (int(random.integers(side - DEFAULT_SIZE)) for side in photograph.shape[:2])
        crop = photograph[top : top + DEFAULT_SIZE, left : left + DEFAULT_SIZE]
        yield ImageToRead(number, np.ascontiguousarray(crop))
        number += 1
