"""Stopping on SIGINT or SIGTERM: the first signal lets the current step end, a second ends at once.

For a program alone: signals belong to the whole process, so the library never touches them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any

import click

from tlfeatures.errors import StoppedError

INSTANT = 0.3  # seconds; signals within it are one signal: `timeout` sends its own twice

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _ignored(number: int, frame: FrameType | None) -> None:
    pass


class Stopping:
    """A context in which a first signal requests a stop and a second one ends the process.

    Work that can stop at certain moments calls the object there, to learn whether to stop. Before
    its first call, a signal interrupts the work at once. A signal that the process ignores stays
    ignored, and outside of the main thread nothing happens at all.

    Copies of the first signal, which come within `INSTANT` of it, don't count as a second signal.
    The context doesn't end before that time is over: a copy that reached the restored handlers
    could end the process before it has reported how far it came.

    Parameters
    ----------
    confirm : callable (bool)
        Called at the first signal, in another thread. The argument says whether a step has begun,
        which will be finished.

    Raises
    ------
    StoppedError
        At the end of the context, if a signal interrupted the work.
    """

    def __init__(self, confirm: Callable[[bool], None]) -> None:
        self._confirm = confirm
        self._requested = self._begun = self._left = False
        self._instant_ends = 0.0  # of the first signal, on the monotonic clock
        self._old: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Return whether to stop; from the first call on, a signal interrupts nothing."""
        self._begun = True
        return self._requested

    def __enter__(self) -> Stopping:
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        if threading.current_thread() is threading.main_thread():
            self._old = {n: old for n, old in handlers.items() if old not in (None, signal.SIG_IGN)}
        if not self._old:
            return self
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._old_fd = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        self._watching.start()
        try:
            self._handle_by(self._handle)
        except KeyboardInterrupt as error:  # a signal that came between the two
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._left = True
        if self._old:
            self._handle_by(_ignored)
            signal.set_wakeup_fd(self._old_fd)
            self._theirs.close()
            self._watching.join()  # it has received every signal up to here
            if self._requested:
                time.sleep(max(0.0, self._instant_ends - time.monotonic()))
            for number, old in self._old.items():
                signal.signal(number, old)
        # Whatever the error is: a library may turn the interrupt into one of its own.
        if kind is not None and self._requested and not self._begun:
            raise StoppedError("Stopped before the first batch, nothing is lost") from None

    def _handle_by(self, handler: Callable[[int, FrameType | None], None]) -> None:
        for number in self._old:
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Run in the main thread, once that is in Python again."""
        self._handle_by(_ignored)  # the watcher receives the next one
        self._requested = True
        if not (self._begun or self._left):
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """Receive signals also while the main thread is in a long call of another library."""
        if self._next_signal() is None:
            return
        self._instant_ends = time.monotonic() + INSTANT
        self._requested = True
        with suppress(OSError):  # standard error may be closed
            self._confirm(self._begun)
        if not self._skip_copies():
            return
        second = self._next_signal()
        if second is not None:
            os._exit(128 + second)  # the exit code of a process that a signal ended

    def _next_signal(self) -> int | None:
        """Wait for one of `_SIGNALS`; None if the context ends first."""
        self._ours.settimeout(None)
        while received := self._ours.recv(1):
            if received[0] in self._old:
                return received[0]
        return None

    def _skip_copies(self) -> bool:
        """Ignore signals within `INSTANT` of the first one; False if the context ends before that.

        While another thread holds Python in a long call, signals are received late. Therefore the
        signals that wait in the socket at the end of this time are ignored too.
        """
        while True:
            self._ours.settimeout(max(0.0, self._instant_ends - time.monotonic()))
            try:
                if not self._ours.recv(1):
                    return False
            except (TimeoutError, BlockingIOError):
                return True


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], bool]]:
    """Handle signals that request a stop, and confirm them on standard error.

    It opens standard error once more, because ours is redirected while TensorFlow loads.
    """
    with ExitStack() as stack:
        own = None
        with suppress(AttributeError, OSError):  # closed, or replaced by a test
            own = stack.enter_context(os.fdopen(os.dup(sys.stderr.fileno()), "w"))

        def confirm(begun: bool) -> None:
            after_bar = "\n" if own is not None and own.isatty() else ""
            after = " after this batch" if begun else ""
            line = f"{after_bar}Stopping{after}; a second signal stops at once."
            click.echo(line, file=own, err=True)

        with Stopping(confirm) as stopping:
            yield stopping
