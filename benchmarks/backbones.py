"""Backbones, engines and precisions in one run: speed, cosines, accuracy, and what `auto` takes.

    python benchmarks/backbones.py [--part table auto vgg16 lite0] [--json FILE]
    python benchmarks/backbones.py --smoke

`--part` chooses what is measured:

- table: every backbone by every engine in every precision: images/s of the model alone, cosines to
  float32 and to Keras or ONNX Runtime without this package, accuracy on two sets of images;
- auto: the engine that `auto` takes against the fastest one, and what choosing takes;
- vgg16: `extract` with VGG16 against the usual Keras loop and one image at a time, and the whole
  command;
- lite0: `extract` with a light network against its model alone and decoding alone, and where the
  time goes.

What is compared takes turns in one process, every other turn in reverse order, because the speed of
shared machines drifts. All of it is on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from backbone_parts.automatic import automatic
from backbone_parts.end_to_end import end_to_end, whole_commands
from backbone_parts.light import LightOptions, light
from backbone_parts.network import Network
from backbone_parts.table import TableOptions, table
from common import (
    DATA,
    Way,
    add_backbone,
    chosen_images,
    copy_images,
    images_folder,
    keep_backbones,
    parse,
    path_of,
    way,
    write_tiny_network,
)

from tlfeatures.features.engines.choose import HARDWARE
from tlfeatures.machine import find_processor

PARTS = ("table", "auto", "vgg16", "lite0")
LIGHT = "efficientnet-lite0"
_VERSIONS = ("tensorflow", "keras", "openvino", "ncnn", "onnxruntime", "pillow")


def main() -> None:
    arguments = parsed()
    keep_backbones()
    facts: dict[str, Any] = {"machine": machine(), "arguments": sys.argv[1:]}
    print(json.dumps(facts["machine"]), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        run = Parts(arguments, Path(temporary))
        for part in arguments.part:
            facts[part] = getattr(run, part)()
            if arguments.json:  # also if a later part is interrupted
                arguments.json.write_text(json.dumps(facts, indent=1, default=str))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    add_backbone(parser)
    parser.add_argument(
        "--backbones",
        nargs="+",
        default=["vgg16", LIGHT, "mobilenetv2", "squeezenet1-1"],
        help="of the table; --weights are those of vgg16",
    )
    parser.add_argument("--light", default=LIGHT, help="the light network")
    parser.add_argument(
        "--engines",
        type=lambda text: [way(each) for each in text.split(",")],
        help="ENGINE:PRECISION,... of the table and of lite0; all if not given",
    )
    parser.add_argument("--plain", nargs="+", default=["keras", "ncnn"], help="engines of vgg16")
    parser.add_argument("--auto-sizes", type=int, nargs="+", default=[64, 150, 224])
    parser.add_argument("--scenes", type=Path, default=DATA / "intel")
    parser.add_argument("--insects", type=Path, default=DATA / "hymenoptera")
    parser.add_argument("--count", type=int, default=64, help="images a turn, a multiple of 32")
    parser.add_argument("--light-count", type=int, default=10**6, help="images a turn of lite0")
    parser.add_argument("--steps", type=int, default=100, help="images of the table of steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole", type=int, default=10**6, help="images of the whole command")
    parser.add_argument(
        "--accuracy",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="embed all images of both sets, and fit heads",
    )
    parser.add_argument("--files", type=Path, help="folder to keep the embeddings of the sets in")
    parser.add_argument("--json", type=Path, help="file for the results")
    return parse(
        parser,
        backbones=["vgg16", "tiny"],
        light="tiny",
        engines=[("openvino", "float32"), ("openvino", "int8"), ("onnxruntime", "float32")],
        weights="random",
        size=32,
        auto_sizes=[32],
        scenes=None,
        insects=None,
        count=8,
        light_count=8,
        steps=8,
        rounds=1,
        whole=8,
    )


class Parts:
    """The parts of the benchmark.

    Parameters
    ----------
    arguments : Namespace
    temporary : Path
        Folder for files that aren't kept.
    """

    def __init__(self, arguments: argparse.Namespace, temporary: Path) -> None:
        self._arguments, self._temporary = arguments, temporary
        self._scenes = images_folder(arguments.scenes, 40, temporary)
        self._insects = images_folder(arguments.insects, 40, temporary)
        if "tiny" in (*arguments.backbones, arguments.light):
            write_tiny_network(temporary / "tiny.onnx", arguments.size)

    def table(self) -> list[dict[str, Any]]:
        """Every backbone, engine and precision."""
        arguments = self._arguments
        half = max(1, arguments.count // 2)
        chosen = [*chosen_images(self._scenes, half), *chosen_images(self._insects, half)]
        files = arguments.files or self._temporary / "files"
        files.mkdir(parents=True, exist_ok=True)
        options = TableOptions(
            {"scenes": self._scenes, "insects": self._insects},
            [path_of(image) for image in chosen],
            arguments.rounds,
            arguments.engines,
            files,
            arguments.accuracy,
        )
        return table([self._network(name) for name in arguments.backbones], options)

    def auto(self) -> list[dict[str, Any]]:
        """What `auto` takes."""
        arguments = self._arguments
        networks = [self._network("vgg16", size) for size in arguments.auto_sizes]
        paths = [path_of(image) for image in chosen_images(self._scenes, arguments.count)]
        networks.append(self._network(arguments.light))
        return automatic(networks, self._scenes, paths, arguments.rounds)

    def vgg16(self) -> dict[str, Any]:
        """VGG16 end to end."""
        arguments = self._arguments
        network = self._network("vgg16")
        images = chosen_images(self._scenes, arguments.count)
        folder = copy_images(images, self._temporary / "vgg16")
        facts = end_to_end(
            network, self._scenes, folder, arguments.rounds, arguments.plain, self._temporary
        )
        ways: list[Way] = [facts["plain"]]
        whole = whole_commands(network, self._scenes, arguments.whole, ways, self._temporary)
        return {**facts, "whole": whole}

    def lite0(self) -> dict[str, Any]:
        """The light network end to end."""
        arguments = self._arguments
        images = chosen_images(self._insects, arguments.light_count)
        folder = copy_images(images, self._temporary / "light")
        options = LightOptions(
            folder, arguments.rounds, arguments.engines, arguments.steps, self._temporary
        )
        return light(self._network(arguments.light), options)

    def _network(self, name: str, size: int | None = None) -> Network:
        backbone = str(self._temporary / "tiny.onnx") if name == "tiny" else name
        weights = self._arguments.weights if name == "vgg16" else None
        return Network(backbone, weights, size or self._arguments.size)


def machine() -> dict[str, Any]:
    """Describe this machine, and the versions of what computes."""
    return {
        "cpu": find_processor().model,
        "cores": os.cpu_count(),
        "bfloat16": HARDWARE.cpu_bfloat16(),
        "load": round(os.getloadavg()[0], 1),
        **{name: version_of(name) for name in _VERSIONS},
    }


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
