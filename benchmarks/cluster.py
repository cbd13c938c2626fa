"""What many processes cost: `extract --cluster` against `extract`, and a shard by itself.

    python benchmarks/cluster.py [--images FOLDER] [--count 128] [--rounds 5] [--shards 20000]
    python benchmarks/cluster.py --smoke

All of it on this machine: a scheduler and two workers of one thread, processes of their own. First
images/s, both ways by turns on the same images; then shards without work, through client, scheduler
and worker, and the resident memory that they leave behind; then tiny shards that are written; then
sharded files over many shards; then what planning takes. `--shards` is the most of any of these.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
from common import (
    DATA,
    add_backbone,
    chosen_images,
    copy_images,
    images_folder,
    parse,
    timed,
    write_noise,
)

from tlfeatures import extract
from tlfeatures.features.cluster.client import Cluster
from tlfeatures.features.cluster.connect import connect
from tlfeatures.features.cluster.orders import Receipt, Recipe, ShardOrder
from tlfeatures.features.cluster.worker import create_shard
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.reader import open_embeddings, read_header
from tlfeatures.features.file.sharded import Shards, shards_folder
from tlfeatures.features.images.identify import Manifest, scan
from tlfeatures.features.plan import Plan, make_plan
from tlfeatures.features.settings import Settings
from tlfeatures.features.sources.open_source import open_source
from tlfeatures.features.sources.records import ImageRecord

HERE = Path(__file__).parent
WORKERS = 2
SHARD_IMAGES = 512
SHARDS = (1_000, 5_000, 20_000)
OPTIONS = ComputeOptions("cpu", max_pixels=10**8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_backbone(parser)
    parser.add_argument("--images", type=Path, default=DATA / "intel")
    parser.add_argument("--count", type=int, default=128, help="images a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shards", type=int, default=SHARDS[-1], help="the most that are made")
    parser.add_argument("--tiny", type=int, default=1000, help="shards that are written")
    parser.add_argument("--planned", type=int, default=100_000, help="images of a plan")
    parser.add_argument("--only", nargs="*", default=["speed", "empty", "tiny", "sharded", "plan"])
    arguments = parse(
        parser,
        images=None,
        weights="random",
        size=32,
        count=8,
        rounds=1,
        shards=30,
        tiny=10,
        planned=1000,
    )
    counts = [count for count in SHARDS if count < arguments.shards] + [arguments.shards]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        start = functools.cache(lambda: stack.enter_context(processes(folder)))
        parts: dict[str, Callable[[Path], None]] = {
            "speed": lambda at: speed(start(), arguments, at),
            "empty": lambda at: empty_shards(start(), counts, at),
            "tiny": lambda at: tiny_shards(start(), arguments.tiny, at),
            "sharded": lambda at: sharded_files(counts, at),
            "plan": lambda at: planning(arguments.planned, at),
        }
        for name in arguments.only:
            (folder / name).mkdir()
            parts[name](folder / name)
            shutil.rmtree(folder / name)


# ---- the processes


class Processes:
    """A scheduler, and workers of one thread."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        where = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--scheduler-file", str(where))
        while not where.exists():
            if self.scheduler.status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError((folder / "scheduler.log").read_text())
            time.sleep(0.1)
        self.workers = [
            self._start("worker", "--scheduler-file", str(where), "--nthreads", "1")
            for _ in range(WORKERS)
        ]
        self.cluster: Cluster

    def _start(self, what: str, *given: str) -> psutil.Process:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *given]
        usual = ["--host", "127.0.0.1", "--no-dashboard"]
        if what == "scheduler":
            usual += ["--port", "0"]
        else:
            usual += ["--local-directory", str(self._folder)]
        paths = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
        with (self._folder / f"{what}.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *usual],
                cwd=self._folder,
                env=os.environ | {"PYTHONPATH": paths},
                stdout=log,
                stderr=log,
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return psutil.Process(process.pid)


@contextmanager
def processes(folder: Path) -> Iterator[Processes]:
    with ExitStack() as stack:
        made = Processes(folder, stack)
        address = scheduler_address(folder)
        made.cluster = stack.enter_context(connect(address))
        made.cluster.client.wait_for_workers(WORKERS, timeout=120)
        yield made


def scheduler_address(folder: Path) -> str:
    return str(json.loads((folder / "scheduler.json").read_text())["address"])


def megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 1e6)


# ---- images per second


def speed(dask: Processes, arguments: argparse.Namespace, folder: Path) -> None:
    source = images_folder(arguments.images, arguments.count, folder)
    chosen = chosen_images(source, arguments.count)
    images = copy_images(chosen, folder / "images")
    runs = {"local": None, "cluster": dask.cluster.address}

    def run(name: str) -> None:
        target = folder / f"{name}.h5"
        target.unlink(missing_ok=True)
        shutil.rmtree(shards_folder(target), ignore_errors=True)
        extract(
            images,
            target,
            size=arguments.size,
            weights=arguments.weights,
            precision="float32",
            cluster=runs[name],
        )

    for name in runs:  # loads the backbone, here and in the workers
        run(name)
    found: dict[str, list[float]] = {name: [] for name in runs}
    used: dict[str, list[list[float]]] = {name: [] for name in runs}
    everyone = [psutil.Process(), dask.scheduler, *dask.workers]
    for number in range(arguments.rounds):
        load = os.getloadavg()[0]
        for name in runs if number % 2 else reversed(runs):
            before = cpu_seconds(everyone)
            with nullcontext() if runs[name] else asleep(everyone[1:]):
                found[name].append(len(chosen) / timed(functools.partial(run, name)))
            pairs = zip(before, cpu_seconds(everyone), strict=True)
            used[name].append([1e3 * (b - a) / len(chosen) for a, b in pairs])
        said = ", ".join(f"{name} {speeds[-1]:.2f}" for name, speeds in found.items())
        print(f"turn {number + 1}: {said} images/s; load before it {load:.1f}", flush=True)
    with open_embeddings(folder / "local.h5") as a, open_embeddings(folder / "cluster.h5") as b:
        names = list(a.header.embeddings)
        same = all(np.array_equal(a.read(name), b.read(name)) for name in names)
        engine, shards = a.header.spec.engine, b.header.shards
    assert shards is not None
    print(
        f"{len(chosen)} images a turn at {arguments.size}, {engine} float32, {len(shards.names)} "
        f"shards, {'the same bits' if same else 'other bits'}; median (least to most)"
    )
    for name, speeds in found.items():
        print(f"  {name:8s} {spread(speeds, 2)} images/s", end="; ")
        client, scheduler, *workers = (
            statistics.median(each) for each in zip(*used[name], strict=True)
        )
        print(
            f"the processors' time: {spread([sum(each) for each in used[name]], 0)} ms an image; "
            f"client {client:.0f}, scheduler {scheduler:.0f}, workers {sum(workers):.0f}"
        )
    ratios = [b / a for a, b in zip(found["local"], found["cluster"], strict=True)]
    print(f"  ratio    {spread(ratios, 3)}", flush=True)


def spread(values: list[float], digits: int) -> str:
    least, most = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


# ---- shards without work


def empty_shard(order: ShardOrder) -> Receipt:
    """What `create_shard` gives, without having made anything."""
    digests = b"".join(task.digest for task in order.tasks)
    return Receipt(order.name, 10**6, hashlib.sha256(digests).digest(), digests, {})


def empty_shards(dask: Processes, counts: list[int], folder: Path) -> None:
    # Workers import it by its name, as they do what they are sent by a run.
    from cluster import empty_shard as function

    plan = fake_plan(SHARD_IMAGES, folder)
    order = ShardOrder(recipe_of(plan, folder), plan.tasks)
    print(f"empty shards of {SHARD_IMAGES} images: {len(pickle.dumps(order)) / 1e3:.0f} kB to a")
    print(f"worker, {len(pickle.dumps(empty_shard(order))) / 1e3:.0f} kB back")
    client = psutil.Process()
    cluster = dask.cluster
    list(cluster.map_unordered(function, [order] * 20))
    busy = cpu_seconds([client, dask.scheduler, *dask.workers])
    print(
        f"  {0:6,d} shards: scheduler {megabytes(dask.scheduler):.0f} MB, client "
        f"{megabytes(client):.0f} MB",
        flush=True,
    )
    receipts: list[Receipt] = []
    made, seconds = 0, 0.0
    for count in counts:
        load, new = os.getloadavg()[0], count - made
        started = time.perf_counter()
        receipts += [receipt for _, receipt in cluster.map_unordered(function, [order] * new)]
        taken = time.perf_counter() - started
        made, seconds = count, seconds + taken
        print(
            f"  {made:6,d} shards: scheduler {megabytes(dask.scheduler):.0f} MB, client "
            f"{megabytes(client):.0f} MB with all receipts; the last {new:,d}: "
            f"{1e3 * taken / new:.2f} ms a shard; load before it {load:.1f}",
            flush=True,
        )
    now = cpu_seconds([client, dask.scheduler, *dask.workers])
    used = [1e3 * (b - a) / made for a, b in zip(busy, now, strict=True)]
    print(
        f"  {1e3 * seconds / made:.2f} ms a shard in all; of the processors' time, client "
        f"{used[0]:.2f} ms, scheduler {used[1]:.2f} ms, both workers {sum(used[2:]):.2f} ms",
        flush=True,
    )


def cpu_seconds(all_of: list[psutil.Process]) -> list[float]:
    """Processor seconds of each process, those that it has started included."""
    found = []
    for process in all_of:
        whole = [process] if process.pid == os.getpid() else tree(process)
        found.append(sum(sum(each.cpu_times()[:2]) for each in whole))
    return found


@contextmanager
def asleep(all_of: list[psutil.Process]) -> Iterator[None]:
    """Halt processes, as idle workers take some time of the cores, too."""
    halted = [each for process in all_of for each in tree(process)]
    try:
        for each in halted:
            each.suspend()
        yield
    finally:
        for each in halted:
            each.resume()


def tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


# ---- shards that are written


def tiny_shards(dask: Processes, count: int, folder: Path) -> None:
    """One image each, by the backbone without weights: everything but the forward pass."""
    write_noise(folder / "images", count, 8)
    target = folder / "all.h5"
    settings = Settings(backbone="pixels", size=8)
    plan = make_plan(scan(open_source(folder / "images")), target, settings, "cpu")
    load = os.getloadavg()[0]
    list(
        dask.cluster.map_unordered(create_shard, one_a_shard(plan, folder / "first")[:20])
    )  # imports
    orders = one_a_shard(plan, folder / "alone")
    alone = timed(lambda: [create_shard(order) for order in orders])
    orders = one_a_shard(plan, shards_folder(target))
    receipts: list[Receipt] = []
    away = timed(
        lambda: receipts.extend(
            made for _, made in dask.cluster.map_unordered(create_shard, orders)
        )
    )
    put_together(plan, orders, receipts)
    with open_embeddings(target) as reader:
        assert reader.header.done.all()
        reading = timed(lambda: reader.read(next(iter(reader.header.embeddings))))
    print(
        f"{count} shards of one tiny image, written: {1e3 * alone / count:.1f} ms a shard in one "
        f"process, {1e3 * away / count:.1f} ms by {WORKERS} workers; reading them all through the "
        f"sharded file {1e3 * reading / count:.1f} ms a shard; load before it {load:.1f}",
        flush=True,
    )


def one_a_shard(plan: Plan, folder: Path) -> list[ShardOrder]:
    """Order every image of a plan as a shard of its own."""
    folder.mkdir()
    recipe = recipe_of(plan, folder)
    return [ShardOrder(recipe, [task]) for task in plan.tasks]


def put_together(plan: Plan, orders: list[ShardOrder], receipts: list[Receipt]) -> None:
    """Make the sharded file over these shards of one image."""
    made = {receipt.name: receipt for receipt in receipts}
    ordered = [made[order.name] for order in orders]
    place = np.full((len(plan.manifest.images), 2), -1)
    for number, order in enumerate(orders):
        place[order.tasks[0].rows] = number, 0
    shards = Shards(
        shards_folder(plan.target).name,
        [receipt.name for receipt in ordered],
        [receipt.size for receipt in ordered],
        [receipt.sha256 for receipt in ordered],
        place,
    )
    contents = Contents(plan.manifest, plan.spec, plan.embeddings, plan.dtype, shards=shards)
    create(plan.target, contents)


# ---- sharded files


def sharded_files(counts: list[int], folder: Path) -> None:
    print("a sharded file over shards of files that are there, 512 columns of float32")
    for count, images in [*((count, 16) for count in counts), (counts[0], SHARD_IMAGES)]:
        sharded_file(count, images, folder)


def sharded_file(count: int, images: int, folder: Path) -> None:
    plan = fake_plan(count * images, folder)
    target = folder / "sharded.h5"
    beside = shards_folder(target)
    beside.mkdir()
    names = [f"{number:064x}.h5" for number in range(count)]
    for name in names:
        (beside / name).write_bytes(b"0")  # no shard is empty
    row = np.arange(count * images)
    place = np.stack([row // images, row % images], axis=1)
    shards = Shards(beside.name, names, [1] * count, [bytes(32)] * count, place)
    load = os.getloadavg()[0]
    widths = {"block5_pool.avg": 512}
    contents = Contents(plan.manifest, plan.spec, widths, "float32", shards=shards)
    making = timed(lambda: create(target, contents))
    size = target.stat().st_size
    opening = timed(lambda: read_header(target))
    looking = timed(lambda: shards.lost(target))
    print(
        f"  {count:6,d} shards of {images:3d} images: made in {making:.2f} s, {size / 1e6:.1f} MB, "
        f"opened in {opening:.2f} s, {looking:.2f} s of it to look at the shards; load before it "
        f"{load:.1f}",
        flush=True,
    )
    target.unlink()
    shutil.rmtree(beside)


# ---- planning


def planning(count: int, folder: Path) -> None:
    manifest = fake_manifest(count)
    settings = Settings(backbone="pixels", size=8)
    plan = make_plan(manifest, folder / "plan.h5", settings, "cpu")
    recipe = recipe_of(plan, folder)

    load = os.getloadavg()[0]
    target = folder / "plan.h5"
    making = [timed(lambda: make_plan(manifest, target, settings, "cpu")) for _ in range(2)]
    cutting = [timed(lambda: cut(plan, recipe)) for _ in range(2)]
    tracemalloc.start()
    kept = fake_manifest(count)
    of_manifest = tracemalloc.get_traced_memory()[0] / count
    kept_too = make_plan(kept, folder / "plan.h5", settings, "cpu")
    of_all = tracemalloc.get_traced_memory()[0] / count
    tracemalloc.stop()
    assert len(kept_too.tasks) == count
    print(
        f"planning, a million images, from {count:,d}: {min(making) * 1e6 / count:.1f} s for the "
        f"plan, {min(cutting) * 1e6 / count:.1f} s to cut it into orders; bytes an image: manifest "
        f"{of_manifest:.0f}, with the plan {of_all:.0f}; load before it {load:.1f}",
        flush=True,
    )


def cut(plan: Plan, recipe: Recipe) -> list[str]:
    """Cut a plan into orders as a run does, and name each shard."""
    parts = (plan.tasks[at : at + SHARD_IMAGES] for at in range(0, len(plan.tasks), SHARD_IMAGES))
    return [ShardOrder(recipe, [replace(task) for task in part]).name for part in parts]


def fake_manifest(count: int) -> Manifest:
    folders = [f"/data/photos/class{number:03d}" for number in range(100)]
    images = [
        ImageRecord(
            f"class{number % 100:03d}/{number:08d}.jpg", folders[number % 100], f"{number:08d}.jpg"
        )
        for number in range(count)
    ]
    images.sort(key=lambda image: image.id)
    digests = [hashlib.sha256(image.id.encode()).digest() for image in images]
    return Manifest(images, digests, [(20_000, 10**18 + number) for number in range(count)])


def fake_plan(count: int, folder: Path) -> Plan:
    settings = Settings(backbone="pixels", size=8)
    return make_plan(fake_manifest(count), folder / "fake.h5", settings, "cpu")


def recipe_of(plan: Plan, folder: Path) -> Recipe:
    return Recipe(str(folder), plan.spec, plan.embeddings, plan.dtype, plan.extent, OPTIONS)


if __name__ == "__main__":
    main()
