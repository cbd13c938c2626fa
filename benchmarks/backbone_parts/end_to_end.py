"""`extract` with a backbone against the usual Keras loop and one image at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    Way,
    chosen_images,
    copy_images,
    keras_vgg16,
    path_of,
    pixels_of,
    ratios,
    run_once,
    spread,
)

from backbone_parts.automatic import choose_anew
from backbone_parts.network import Network, Run, rates, take_turns
from tlfeatures import extract
from tlfeatures.features.engines.engine import BATCH_SIZE
from tlfeatures.features.images.identify import scan
from tlfeatures.features.sources.open_source import open_source

LOOP, SINGLE = "usual Keras loop", "one image at a time"


def end_to_end(
    network: Network,
    source: Path,
    folder: Path,
    rounds: int,
    plain: Sequence[str],
    temporary: Path,
) -> dict[str, Any]:
    """Measure what `auto` takes in a plain installation, and with all engines that are here.

    Parameters
    ----------
    network : Network
        VGG16.
    source : Path
        All images, which `auto` chooses for.
    folder : Path
        The images of a turn.
    rounds : int
    plain : sequence of str
        Engines of a plain installation.
    temporary : Path
        Folder for embeddings files.
    """
    paths = [path_of(image) for image in scan(open_source(folder)).images]
    in_plain = choose_anew(network, source, plain).way
    ways = list(dict.fromkeys([in_plain, choose_anew(network, source).way]))
    model = keras_vgg16(network.size, network.weights or "imagenet")
    runs: dict[str, Run] = {
        LOOP: partial(usual_loop, model, network.size, folder),
        SINGLE: partial(one_at_a_time, model, network.size, paths),
    }
    pixels = pixels_of(paths, network.height_width)
    for way in ways:
        loaded = network.load(network.spec(way))
        runs[f"ours, {' '.join(way)}"] = partial(extract_anew, network, way, folder, temporary)
        runs[f"model alone, {' '.join(way)}"] = partial(network.rows, loaded, pixels)
    for name, run in runs.items():  # compiling is not what is measured
        if name != SINGLE:
            run()
    one_at_a_time(model, network.size, paths[:1])
    seconds = take_turns(runs, rounds)
    print(
        f"{network.title} at {network.size}, {len(paths)} images a turn; median (least to most); "
        f"a plain installation ({', '.join(plain)}) takes {' '.join(in_plain)}"
    )
    report(seconds, len(paths))
    return {
        "backbone": network.title,
        "size": network.size,
        "images": len(paths),
        "plain": in_plain,
        "seconds": seconds,
    }


def report(seconds: dict[str, list[float]], count: int) -> None:
    print(
        f"{'':32s} {'images/s':22s} {'x the usual loop':22s} {'x one at a time':22s} "
        "of its model alone"
    )
    for name, times in seconds.items():
        cells = [spread(rates(times, count), 1)]
        cells += [spread(ratios(seconds[base], times), 2) for base in (LOOP, SINGLE)]
        if name.startswith("ours"):
            alone = seconds[name.replace("ours", "model alone")]
            cells.append(spread(ratios(alone, times), 3))
        print(f"{name:32s} " + " ".join(f"{cell:22s}" for cell in cells).rstrip(), flush=True)


def usual_loop(model: Any, size: int, folder: Path) -> None:
    """What a tutorial does: image_dataset_from_directory, preprocess_input, model.predict."""
    import keras

    images = keras.utils.image_dataset_from_directory(
        folder,
        labels=None,
        batch_size=BATCH_SIZE,
        image_size=(size, size),
        shuffle=False,
        verbose=False,
    )
    model.predict(images.map(keras.applications.vgg16.preprocess_input), verbose=0)


def one_at_a_time(model: Any, size: int, paths: Sequence[Path]) -> None:
    """What another tutorial does: load_img, preprocess_input, predict a batch of one, append."""
    import keras

    rows = []
    for path in paths:
        image = keras.utils.load_img(path, target_size=(size, size))
        batch = np.expand_dims(keras.utils.img_to_array(image), 0)
        rows.append(model.predict(keras.applications.vgg16.preprocess_input(batch), verbose=0))


def extract_anew(network: Network, way: Way, folder: Path, temporary: Path) -> None:
    """Embed a folder into a new file."""
    file = temporary / f"{network.title}-{'-'.join(way)}.h5"
    file.unlink(missing_ok=True)
    extract(folder, file, device="cpu", **asdict(network.settings(way)))


def whole_commands(
    network: Network, source: Path, count: int, ways: Sequence[Way], temporary: Path
) -> list[dict[str, Any]]:
    """Time the command from its start to its end, by each way and as `auto` takes it.

    Parameters
    ----------
    network : Network
    source : Path
        Folder of images.
    count : int
        Number of images, or more than there are for all.
    ways : sequence of (engine, precision)
    temporary : Path
    """
    folder = copy_images(chosen_images(source, count), temporary / "whole")
    images, found = len(scan(open_source(folder)).images), []
    # Speeds that an earlier run has kept would spare it the measuring. Weights that aren't in a
    # file are in the cache, too.
    in_cache = network.weights is None or network.weights == "imagenet"
    fresh = {} if in_cache else {"XDG_CACHE_HOME": str(temporary / "cache")}
    for way in (*ways, None):
        name, file = "auto" if way is None else " ".join(way), temporary / "whole.h5"
        file.unlink(missing_ok=True)
        load = os.getloadavg()[0]
        command = ["extract", str(folder), "-o", str(file), *network.options(way)]
        taken, peak = run_once(command, fresh)
        again, _ = run_once(command, fresh)
        print(
            f"whole command, {network.title} at {network.size}, {name}: {images} images in "
            f"{taken:.1f} s, {images / taken:.1f} images/s; again {again:.2f} s; {peak:.0f} MB; "
            f"load before it {load:.1f}",
            flush=True,
        )
        facts = {"way": name, "images": images, "seconds": taken, "again": again, "peak_mb": peak}
        found.append({"backbone": network.title, **facts})
    return found
