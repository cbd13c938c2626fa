"""Seconds of `extract` with nothing to do, against hashing the same files' bytes and no more.

    python benchmarks/nothing_to_do.py [--count 10000] [--rounds 5] [--smoke]

Both are processes of their own, start-up included, and take turns; the files are in memory (the
page cache), as they were just written.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from common import output_of, parse, timed, write_noise

# As fast as Python does it: few objects, one long task a thread; hashing releases the lock.
HASHING = """
import hashlib, os, sys
from concurrent.futures import ThreadPoolExecutor

paths = [entry.path for folder in os.scandir(sys.argv[1]) for entry in os.scandir(folder.path)]
threads = os.cpu_count()

def digests(part):
    found = []
    for path in part:
        with open(path, "rb", buffering=0) as file:
            found.append(hashlib.sha256(file.read()).digest())
    return found

with ThreadPoolExecutor(threads) as pool:
    print(sum(map(len, pool.map(digests, [paths[n::threads] for n in range(threads)]))))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parse(parser, count=20, rounds=1)
    with tempfile.TemporaryDirectory() as temporary:
        folder, file = Path(temporary, "images"), Path(temporary, "x.h5")
        size = write_noise(folder, arguments.count, 160, 85)
        extracting = [sys.executable, "-m", "tlfeatures", "extract", str(folder), "-o", str(file)]
        extracting += ["--backbone", "pixels", "--size", "32"]  # soonest done the first time
        hashing = [sys.executable, "-c", HASHING, str(folder)]
        print(f"{arguments.count:,} files of {size:,} bytes")
        print(f"embedding them: {timed(lambda: output_of(extracting)):.1f} s")
        seconds: dict[str, list[float]] = {"nothing to do": [], "hashing alone": []}
        for number in range(arguments.rounds):
            load = os.getloadavg()[0]
            seconds["nothing to do"].append(timed(lambda: output_of(extracting)))
            seconds["hashing alone"].append(timed(lambda: output_of(hashing)))
            both = ", ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items())
            print(f"turn {number + 1}: {both}; load before it {load:.1f}", flush=True)
        apart = [a - b for a, b in zip(*seconds.values(), strict=True)]
    print(f"apart: {statistics.median(apart):.2f} s ({min(apart):.2f} to {max(apart):.2f})")


if __name__ == "__main__":
    main()
