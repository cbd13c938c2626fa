"""Run one simulation and print its table: `python -m benchmarks.honesty NAME --draws N`."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")
)


def main() -> None:
    """Parse the options, and call `run` of the module with this name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.honesty", description=__doc__)
    parser.add_argument("name", choices=NAMES, help="the table to compute")
    parser.add_argument("--draws", type=int, default=200, help="number of simulated data sets")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of the embeddings files scenes.h5 and insects.h5; draws are kept there, too",
    )
    options = parser.parse_args()
    if options.data is not None:
        os.environ["HONESTY_DATA"] = str(options.data)
    print(importlib.import_module(f"benchmarks.honesty.{options.name}").run(options.draws))


if __name__ == "__main__":
    main()
