"""Progress bars on standard error, and a line while a step that can't be counted takes long."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

import click

_PATIENCE = 1.5  # seconds without a bar before the line appears
_TICK = 1.0  # seconds between two numbers on the line


class ProgressBar:
    """A progress bar with speed and time left, shown if standard error is a terminal.

    Until the first step is reported, for example while a file is read, a line counts the seconds.
    """

    def __init__(self, label: str = "embedding", unit: str = "images/s") -> None:
        self._label, self._unit = label, unit
        self._stack = ExitStack()
        self._bar: Any = None
        self._done = 0
        self._start = (0.0, 0)  # time after the first batch, and its number of images
        self._waiting = WaitingLine()

    def __enter__(self) -> ProgressBar:
        self._waiting.start()
        return self

    def __exit__(self, *details: Any) -> None:
        self._waiting.end()
        self._stack.close()

    def show(self, done: int, total: int) -> None:
        """Update the bar: `done` of `total` are done."""
        self._waiting.end()
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
    """A progress bar for each of several steps, one after the other, and lines between them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._label: str | None = None
        self._bar = ProgressBar()

    def __enter__(self) -> ProgressBars:
        self._stack.enter_context(self._bar)
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.close()

    def show(self, label: str, done: int, total: int) -> None:
        """Update the bar of this step: `done` of `total` are done."""
        if label != self._label:
            unit = "images/s" if label == "pictures" else "fits/s"
            self._stack.close()
            self._label, self._bar = label, self._stack.enter_context(ProgressBar(label, unit))
        self._bar.show(done, total)
        if done == total:  # what follows may not be counted
            self._stack.close()
            self._label, self._bar = None, self._stack.enter_context(ProgressBar())


class WaitingLine:
    """A line that counts seconds on a terminal, while nothing else says that the command works.

    It appears after `_PATIENCE` seconds. The cursor stays at its begin, so that a message that
    comes in between replaces it.
    """

    def __init__(self, text: str = "working") -> None:
        self._text, self._written = text, 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> WaitingLine:
        self.start()
        return self

    def __exit__(self, *details: Any) -> None:
        self.end()

    def start(self) -> None:
        """Begin to wait."""
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Remove the line, and let no other one appear."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._thread = None
        if self._written:
            self._write(" " * self._written)

    def _show(self) -> None:
        started, wait = time.perf_counter(), _PATIENCE
        while not self._over.wait(wait):
            text = f"{self._text}: {time.perf_counter() - started:.0f} s"
            self._write(text)
            self._written, wait = len(text), _TICK

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the terminal may be closed
            sys.stderr.write(f"{text}\r")
            sys.stderr.flush()
