"""What `doctor` found as text: ten lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tlfeatures.names import one_line, some_of

if TYPE_CHECKING:
    from tlfeatures.features.backbones.kept_weights import KeptWeights
    from tlfeatures.features.diagnosis import Diagnosis, EngineFacts, Gpu, KerasFacts
    from tlfeatures.features.measured_rates import Rate
    from tlfeatures.machine import Cores, Disk, Processor

_LABEL_WIDTH = 10
_BACKBONES_SHOWN, _WEIGHTS_SHOWN = 3, 6  # --json has all


def render_diagnosis(found: Diagnosis) -> str:
    """Ten lines, each with a label; a part that was not found has the reason."""
    texts = {
        "versions": found.versions is not None and _versions(found.versions),
        "processor": found.processor is not None and _processor(found.processor),
        "cores": found.cores is not None and _cores(found.cores),
        "gpu": found.gpu is not None and _gpu(found.gpu),
        "engines": found.engines is not None and _engines(found.engines),
        "keras": found.keras is not None and _keras(found.keras),
        "rates": found.rates is not None and _rates(found.rates, found.unknown.get("measuring")),
        "weights": found.weights is not None and _weights(found.weights),
        "disk": found.disk is not None and _disk(found.disk),
        "advice": found.advice is not None and ("; ".join(found.advice) or "nothing that is known"),
    }
    lines = []
    for part, text in texts.items():
        reason = found.unknown.get(part, "no reason is known")
        words = one_line(text or f"can't be found out: {reason}")
        lines.append(f"{_LABELS[part]:{_LABEL_WIDTH}}{words}")
    return "\n".join(lines)


_LABELS = {
    "versions": "versions",
    "processor": "CPU",
    "cores": "threads",
    "gpu": "GPU",
    "engines": "engines",
    "keras": "Keras",
    "rates": "speed",
    "weights": "weights",
    "disk": "disk",
    "advice": "faster",
}


def _versions(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{title} {version or 'missing'}" for title, version in versions.items())


def _processor(processor: Processor) -> str:
    listed = processor.instructions
    if listed is None:
        words = "its instructions are not listed by this system"
    else:
        words = ", ".join(listed) or "no AVX2"
    return f"{processor.model}; {words}"


def _cores(cores: Cores) -> str:
    limits = []
    if cores.allowed < cores.installed:
        limits.append(f"the process may run on {cores.allowed} cores (affinity)")
    if cores.quota is not None:
        limits.append(f"the container may use {cores.quota:g} cores (quota)")
    limits += [f"{name}={value}" + _LIMITED[name] for name, value in cores.variables.items()]
    return f"{cores.usable} of {cores.installed} cores: " + ("; ".join(limits) or "no limit is set")


# Which of the variables limit which engine was measured. ncnn and ONNX Runtime start as many
# threads as joblib counts cores.
_LIMITED = {
    "LOKY_MAX_CPU_COUNT": " limits ncnn, ONNX Runtime and folds",
    "OMP_NUM_THREADS": " limits scikit-learn and PyTorch, not the engines",
    "TF_NUM_INTRAOP_THREADS": " limits TensorFlow",
}


def _gpu(gpu: Gpu) -> str:
    if not gpu.drivers:
        return "no driver found; embeddings are computed on the CPU"
    models = ", ".join(gpu.models) or f"a driver of {' and '.join(gpu.drivers)}"
    engines = f"used by {' and '.join(gpu.engines)}" if gpu.engines else "no engine can use it"
    return f"{models}; {engines}"


def _engines(engines: Mapping[str, EngineFacts]) -> str:
    installed = [
        f"{name} {facts.version} ({', '.join(facts.precisions)})"
        for name, facts in engines.items()
        if facts.version is not None
    ]
    missing = [
        f"{name} is not installed (pip install {facts.requirement})"
        for name, facts in engines.items()
        if facts.version is None
    ]
    return "; ".join([", ".join(installed) or "none is installed", *missing])


def _keras(keras: KerasFacts) -> str:
    chosen = f"set by {keras.chosen_by}" if keras.chosen_by else "the default"
    words = f"computes on {keras.backend} ({chosen}); keras.json is not read"
    if not keras.supported:
        return f"{words}; this backend is not supported: set KERAS_BACKEND=tensorflow"
    if not keras.installed:
        return f"{words}; {keras.backend} is not installed: pip install {keras.backend}"
    return words


def _rates(rates: Mapping[str, tuple[Rate, ...]], failure: str | None) -> str:
    measured = [f"{name} {_rates_of(listed)}" for name, listed in rates.items()]
    words = f"images/s measured here: {some_of(measured, _BACKBONES_SHOWN)}"
    if not measured:
        words = "not measured yet: tlfeatures doctor --measure"
    return words if failure is None else f"{words}; measuring failed: {failure}"


def _rates_of(rates: tuple[Rate, ...]) -> str:
    """Give the rates at the size and the layer of the fastest: other ones can't be compared."""
    first = rates[0]
    compared = [rate for rate in rates if (rate.size, rate.layer) == (first.size, first.layer)]
    listed = (f"{r.engine} {r.precision} {r.images_per_second:.1f}" for r in compared)
    return f"({first.size[0]}x{first.size[1]}) {', '.join(listed)}"


def _weights(weights: Mapping[str, KeptWeights]) -> str:
    if not weights:
        return "none on this machine; they are downloaded when they are first used"
    folders: dict[str, list[str]] = {}
    for name, kept in weights.items():
        size = f"{kept.bytes / 1e6:.0f} MB" if kept.damage is None else f"damaged: {kept.damage}"
        folders.setdefault(str(Path(kept.path).parent), []).append(f"{name} ({size})")
    return "; ".join(
        f"{some_of(names, _WEIGHTS_SHOWN)} in {folder}" for folder, names in folders.items()
    )


def _disk(disk: Disk) -> str:
    writable = "" if disk.writable else "; it can't be written, so that downloads are not kept"
    return f"{disk.free / 1e9:.1f} GB free for {disk.folder}{writable}"
