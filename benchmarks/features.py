"""How long import and export-features take, and how much memory, against NumPy and pandas.

    python benchmarks/features.py [--rows 100000] [--columns 512] [--rounds 3] [--smoke]

Every turn is a process of its own. The peers read or write the same values and ids: npz by NumPy,
Parquet and CSV by pandas. They write no embeddings file, no checksums and no digests.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import output_of, parse, run_once

START = """
import resource, sys, time
import numpy as np
import pandas as pd
started = time.perf_counter()
source, target = sys.argv[1:]
"""
END = """
print(time.perf_counter() - started,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""
READ = {
    "npz": "data = np.load(source); data['ids'], data['features']",
    "parquet": "pd.read_parquet(source)",
    "csv": "pd.read_csv(source)",
}
WRITE = {
    "npz": "data = np.load(source); np.savez(target, ids=data['ids'], features=data['features'])",
    "parquet": "data = np.load(source); frame = pd.DataFrame(data['features']); "
    "frame.columns = frame.columns.map(str); frame.insert(0, 'id', data['ids']); "
    "frame.to_parquet(target)",
    "csv": "data = np.load(source); frame = pd.DataFrame(data['features']); "
    "frame.insert(0, 'id', data['ids']); frame.to_csv(target, index=False)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parse(parser, rows=50, columns=8, rounds=1)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        rows, columns = arguments.rows, arguments.columns
        features = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
        ids = np.array([f"class{row % 10}/{row:07d}.jpg" for row in range(rows)])
        np.savez(place / "given.npz", ids=ids, features=features)
        run_once(["import", str(place / "given.npz"), "-o", str(place / "all.h5"), "--json"])
        print(f"{rows:,} x {columns} float32, {features.nbytes / 1e6:.0f} MB; median of seconds")
        print(f"{'':15} {'seconds':>8} {'MB':>6} {'peer, s':>8} {'MB':>6} {'x peer':>7}")
        for ending in READ:
            compare(ending, place, arguments.rounds)


def compare(ending: str, place: Path, rounds: int) -> None:
    given, file = place / "given.npz", place / "all.h5"
    mine, theirs = place / f"mine.{ending}", place / f"theirs.{ending}"
    ways = {
        "export": (["export-features", str(file), "-o", str(mine)], WRITE[ending], given, theirs),
        "import": (["import", str(mine), "-o", str(place / "new.h5")], READ[ending], mine, theirs),
    }
    for name, (options, peer, source, target) in ways.items():
        turns = []
        for _ in range(rounds):
            for old in (place / "new.h5", theirs):
                old.unlink(missing_ok=True)
            own = run_once([*options, "--json"])
            code = START + peer + END
            printed = output_of([sys.executable, "-c", code, str(source), str(target)]).split()
            turns.append((*own, *map(float, printed)))
        seconds, memory, peer_seconds, peer_memory = map(
            statistics.median, zip(*turns, strict=True)
        )
        ratio = statistics.median(turn[0] / turn[2] for turn in turns)
        print(
            f"{name} {ending:8} {seconds:8.1f} {memory:6.0f} {peer_seconds:8.1f} "
            f"{peer_memory:6.0f} {ratio:7.2f}"
        )


if __name__ == "__main__":
    main()
