"""Progress bars on standard error."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import Any

import click


class ProgressBar:
    """A progress bar with speed and time left, shown if standard error is a terminal."""

    def __init__(self, label: str = "embedding", unit: str = "images/s") -> None:
        self._label, self._unit = label, unit
        self._stack = ExitStack()
        self._bar: Any = None
        self._done = 0
        self._start = (0.0, 0)  # time after the first batch, and its number of images

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.close()

    def show(self, done: int, total: int) -> None:
        """Update the bar: `done` of `total` are done."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            bar = click.progressbar(
                length=total,
                label=self._label,
                show_pos=True,
                file=sys.stderr,
                item_show_func=lambda speed: speed or "",
            )
            self._bar = self._stack.enter_context(bar)
            self._start = (time.perf_counter(), done)
        seconds = time.perf_counter() - self._start[0]
        speed = (done - self._start[1]) / seconds if done > self._start[1] else 0
        self._bar.update(done - self._done, f"{speed:.1f} {self._unit}" if speed else None)
        self._done = done


class ProgressBars:
    """A progress bar for each of several steps, one after the other."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._label: str | None = None
        self._bar = ProgressBar()

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.close()

    def show(self, label: str, done: int, total: int) -> None:
        """Update the bar of this step: `done` of `total` are done."""
        if label != self._label:
            self._stack.close()
            self._label, self._bar = label, self._stack.enter_context(ProgressBar(label, "fits/s"))
        self._bar.show(done, total)
