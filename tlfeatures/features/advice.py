"""What would make embedding faster on a machine, as far as it was measured.

The factors are those of `benchmarks/`, by VGG16 at 224 x 224 pixels on two cores, unless they were
measured on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlfeatures.features.diagnosis import EngineFacts, Gpu
    from tlfeatures.features.measured_rates import Rate
    from tlfeatures.machine import Cores, Processor

_SMALL_BACKBONE = "efficientnet-lite0"
_SIZE = (224, 224)  # of images in pixels; speeds at other sizes aren't comparable
_LAYERS = {_SMALL_BACKBONE: "features", "vgg16": "block5_pool"}


def advise(
    engines: Mapping[str, EngineFacts] | None,
    rates: Mapping[str, tuple[Rate, ...]] | None,
    processor: Processor | None,
    cores: Cores | None,
    gpu: Gpu | None,
) -> tuple[str, ...]:
    """Say what would make embedding faster.

    Parameters
    ----------
    engines, rates, processor, cores, gpu
        Parts of a `Diagnosis`; nothing is advised on a part that is None.

    Returns
    -------
    tuple of str
        What helps most comes first.
    """
    installed = {name for name, facts in (engines or {}).items() if facts.version is not None}
    instructions = set((processor and processor.instructions) or ())
    advice = []
    if gpu is not None and "NVIDIA" in gpu.drivers and not gpu.engines:
        advice.append("no engine sees the NVIDIA GPU: pip install 'tensorflow[and-cuda]' for Keras")
    if engines is not None:
        advice += _on_engines(installed, instructions)
    if cores is not None:
        advice += _on_threads(cores)
    return (*advice, *_on_backbones(rates or {}))


def _on_engines(installed: set[str], instructions: set[str]) -> list[str]:
    if "AMX-INT8" in instructions:
        return [_int8(installed, "2 times as fast as bfloat16 with AMX")]
    advice = []
    if "AVX2" in instructions and "ncnn" not in installed:
        advice.append("pip install ncnn: VGG16 in float32 is 2 to 3 times as fast as by Keras")
    if "AVX512-VNNI" in instructions:
        advice.append(_int8(installed, "1.7 times as fast as ncnn with AVX512-VNNI"))
    return advice


def _int8(installed: set[str], factor: str) -> str:
    first = "" if "openvino" in installed else "pip install 'tlfeatures[openvino]' and "
    return f"{first}--precision int8: VGG16 is {factor}, less exact (cosine from 0.995)"


def _on_threads(cores: Cores) -> list[str]:
    threads = cores.variables.get("TF_NUM_INTRAOP_THREADS", "")
    if threads.isdecimal() and 0 < int(threads) < cores.usable:
        return [f"unset TF_NUM_INTRAOP_THREADS: it limits Keras to {threads} of its threads"]
    return []


def _on_backbones(rates: Mapping[str, tuple[Rate, ...]]) -> list[str]:
    small, vgg16 = (_fastest(name, rates) for name in (_SMALL_BACKBONE, "vgg16"))
    if small is None or vgg16 is None:
        speed = "7 to 12 times as fast as VGG16"
    elif small > vgg16:
        speed = f"{small / vgg16:.1f} times as fast as VGG16 here"
    else:
        return []
    return [f"--backbone {_SMALL_BACKBONE}: {speed}, about as accurate (docs/backbones.md)"]


def _fastest(name: str, rates: Mapping[str, tuple[Rate, ...]]) -> float | None:
    """Return the images per second of a backbone at the size and the layer that are compared."""
    speeds = [
        rate.images_per_second
        for rate in rates.get(name, ())
        if (rate.size, rate.layer) == (_SIZE, _LAYERS[name]) and rate.close_to_float32
    ]
    return max(speeds, default=None)
