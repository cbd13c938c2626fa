"""How fast engines were on this machine, kept in the cache for later runs.

The file `engine_speeds.json` in the folder of this package's downloads has one entry for each
workload, engine, version of the engine, and precision. It can be deleted at any time. What is
damaged or unknown in it is ignored.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlfeatures.errors import OutputError
from tlfeatures.features.backbones.download import cache_folder
from tlfeatures.features.engines.engine import Engine
from tlfeatures.features.spec import Spec
from tlfeatures.files import reason_of, replacing
from tlfeatures.installed import backend_of_keras, version_of
from tlfeatures.machine import find_processor

logger = logging.getLogger(__name__)

Way = tuple[str, str]  # an engine and a precision

_FORMAT = {"format": "tlfeatures engine speeds", "version": 1}
_MOST = 1000  # entries that are kept; older ones are removed


@dataclass(frozen=True)
class Workload:
    """What was computed, and on which machine.

    Attributes
    ----------
    cpu : str
        Name of its model.
    cores : int
        Number of cores that this process may use.
    backbone : str
    weights : str
        The sha256 of the spec, or an empty text.
    height, width : int
        Size of the images that enter the backbone, in pixels.
    layer : str
        The deepest layer that was wanted.
    """

    cpu: str
    cores: int
    backbone: str
    weights: str
    height: int
    width: int
    layer: str


@dataclass(frozen=True)
class Speed:
    """What was measured of an engine in a precision.

    Attributes
    ----------
    images_per_second : float
    load_seconds : float
        Time to start the engine and to load the backbone.
    cosine : float or None
        Least cosine of a row to the same row in float32; None for float32 itself, and where the
        user asked for the precision.
    """

    images_per_second: float
    load_seconds: float
    cosine: float | None = None

    def seconds(self, count: int) -> float:
        """Time to load the backbone and to embed a number of images."""
        return self.load_seconds + count / self.images_per_second


@dataclass(frozen=True)
class _Entry:
    workload: Workload
    engine: str
    engine_version: str
    precision: str
    speed: Speed

    @property
    def identity(self) -> tuple[Any, ...]:
        return self.workload, self.engine, self.engine_version, self.precision


def workload_of(spec: Spec, names: tuple[str, ...]) -> Workload:
    """Describe the embedding of images by a spec on this machine.

    Parameters
    ----------
    spec : Spec
    names : tuple of str
        The embeddings wanted, `LAYER.POOLING`.
    """
    import joblib

    order = {layer: depth for depth, layer in enumerate(spec.find_backbone().shapes(spec.size))}
    layers = [name.rpartition(".")[0] for name in names]
    return Workload(
        cpu=find_processor().model,
        cores=joblib.cpu_count(),
        backbone=spec.backbone,
        weights=spec.weights_sha256 or "",
        height=spec.size[0],
        width=spec.size[1],
        layer=max(layers, key=lambda layer: order.get(layer, -1)),
    )


def read_all(engines: Mapping[str, Engine]) -> dict[Workload, dict[Way, Speed]]:
    """Return all that is kept of this machine and of the installed versions of engines."""
    import joblib

    here = find_processor().model, joblib.cpu_count()
    versions = {name: _version(engine) for name, engine in engines.items()}
    speeds: dict[Workload, dict[Way, Speed]] = {}
    for entry in _entries():
        workload = entry.workload
        same_machine = (workload.cpu, workload.cores) == here
        if same_machine and versions.get(entry.engine) == entry.engine_version:
            speeds.setdefault(workload, {})[entry.engine, entry.precision] = entry.speed
    return speeds


def read(workload: Workload, engines: Mapping[str, Engine]) -> dict[Way, Speed]:
    """Return what is kept of the installed versions of engines, by engine and precision."""
    return read_all(engines).get(workload, {})


def keep(workload: Workload, measured: Mapping[Way, Speed], engines: Mapping[str, Engine]) -> None:
    """Keep what was measured; a file that can't be written is no error."""
    fresh = [
        _Entry(workload, engine, _version(engines[engine]), precision, speed)
        for (engine, precision), speed in measured.items()
    ]
    entries = {entry.identity: entry for entry in [*_entries(), *fresh]}
    data = {**_FORMAT, "entries": [asdict(entry) for entry in list(entries.values())[-_MOST:]]}
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            new.write_text(json.dumps(data, indent=1))
    except (OSError, OutputError) as error:
        logger.info("the speeds of engines could not be kept in %s: %s", path, reason_of(error))


def _path() -> Path:
    return cache_folder() / "engine_speeds.json"


def _entries() -> Iterator[_Entry]:
    """Yield the entries of the file that can be read."""
    if not _path().is_file():  # opening a pipe would wait for ever
        return
    try:
        data = json.loads(_path().read_text())
        listed = data["entries"] if {**data, **_FORMAT} == data else []
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # no file, or damaged
        return
    for item in listed if isinstance(listed, list) else []:
        entry = _parsed(item)
        if entry is not None:
            yield entry


def _parsed(item: Any) -> _Entry | None:
    try:
        plain = {**item, "workload": Workload(**item["workload"]), "speed": Speed(**item["speed"])}
        entry = _Entry(**plain)
        hash(entry)
        speed = entry.speed
        numbers = [speed.images_per_second, speed.load_seconds, speed.cosine or 0.0]
        valid = all(isinstance(value, float) and math.isfinite(value) for value in numbers)
        return entry if valid and speed.images_per_second > 0 <= speed.load_seconds else None
    except (TypeError, KeyError):
        return None


def _version(engine: Engine) -> str:
    """Name the installed versions of an engine's package and, for Keras, of its backend."""
    packages = [engine.package]
    if engine.package == "keras":
        packages.append(backend_of_keras())
    return " ".join(f"{package} {version_of(package) or '?'}" for package in packages)
