"""What processes do that tests kill: extract a folder, and tell each moment that they come to."""

from __future__ import annotations

import functools
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import scipy.ndimage  # noqa: F401, what variants need is loaded before a process starts

from tlfeatures.features.extract import extract
from tlfeatures.features.file.writer import Writer

Word = tuple[str, Any]


def extract_watched(
    tell: Connection, last: int | None, photos: Path, file: Path, settings: dict[str, Any]
) -> None:
    """Extract, and tell ("moment", name) and ("rows", how many of them are written).

    A moment is just before a write is flushed to the disk, and just before and after a file there
    gets another name or goes. At the moment of the number `last` it waits to be killed.
    """
    moments = 0

    def come_to(moment: str) -> None:
        nonlocal moments
        tell.send(("moment", moment))
        if moments == last:
            time.sleep(600)
        moments += 1

    def watch(name: str, after: bool = True) -> None:
        call = getattr(os, name)

        @functools.wraps(call)
        def watched(*given: Any, **options: Any) -> Any:
            come_to(f"before {name}")
            result = call(*given, **options)
            if after:
                come_to(f"after {name}")
            return result

        setattr(os, name, watched)

    watch("fsync", after=False)
    watch("replace")
    watch("unlink")
    write = Writer.write

    def tell_rows(self: Writer, rows: Any, *values: Any) -> None:
        write(self, rows, *values)
        tell.send(("rows", len(rows)))  # from now on they must survive

    Writer.write = tell_rows  # type: ignore[method-assign]
    extract(photos, file, **settings)
