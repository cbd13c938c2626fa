"""Asked to stop, by SIGINT or SIGTERM: what is begun is finished, and a second signal ends it all.

For a program alone: signals are the whole process's, so the library never touches them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from tlfeatures.errors import StoppedError

INSTANT = 0.3  # seconds; signals within it are one signal: `timeout` sends its own twice

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _ignored(number: int, frame: FrameType | None) -> None:
    pass


class Stopping:
    """While it is entered, a first signal asks to stop and a second one ends the process.

    Work that can stop at moments of its own calls it to ask whether to. Before it has asked for
    the first time, a signal interrupts it at once. A signal that the process ignores stays
    ignored, and outside of the main thread nothing happens at all.

    Copies of the first signal, which come within `INSTANT` of it, are no second signal. It is not
    left before that time is over, so that no copy meets the handlers that it puts back: they could
    end the process before it has said how far it came.

    Parameters
    ----------
    say : callable (bool)
        Called at the first signal, in another thread, with whether work is begun that will be
        finished.

    Raises
    ------
    StoppedError
        When it is left, if a signal interrupted what was going on.
    """

    def __init__(self, say: Callable[[bool], None]) -> None:
        self._say = say
        self._asked = self._begun = self._left = False
        self._instant_ends = 0.0  # of the first signal, on the monotonic clock
        self._old: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Say whether to stop; from the first call on a signal interrupts nothing."""
        self._begun = True
        return self._asked

    def __enter__(self) -> Stopping:
        known = {number: signal.getsignal(number) for number in _SIGNALS}
        if threading.current_thread() is threading.main_thread():
            self._old = {n: old for n, old in known.items() if old not in (None, signal.SIG_IGN)}
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
            self._watching.join()  # it has heard of every signal up to here
            if self._asked:
                time.sleep(max(0.0, self._instant_ends - time.monotonic()))
            for number, old in self._old.items():
                signal.signal(number, old)
        # Whatever came of the interrupt: a library may turn it into an error of its own.
        if kind is not None and self._asked and not self._begun:
            raise StoppedError("Stopped before the first batch, nothing is lost") from None

    def _handle_by(self, handler: Callable[[int, FrameType | None], None]) -> None:
        for number in self._old:
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Run in the main thread, once that is in Python again."""
        self._handle_by(_ignored)  # the watcher hears of the next one
        self._asked = True
        if not (self._begun or self._left):
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """Hear of signals also while the main thread is in a long call of another library."""
        if self._next_signal() is None:
            return
        self._instant_ends = time.monotonic() + INSTANT
        self._asked = True
        with contextlib.suppress(OSError):  # nobody may be there to be told
            self._say(self._begun)
        if not self._skip_copies():
            return
        second = self._next_signal()
        if second is not None:
            os._exit(128 + second)  # as the shell counts who was ended by a signal

    def _next_signal(self) -> int | None:
        """Wait for one of ours; None if it is left first."""
        self._ours.settimeout(None)
        while heard := self._ours.recv(1):
            if heard[0] in self._old:
                return heard[0]
        return None

    def _skip_copies(self) -> bool:
        """Hear of nothing until the instant is over; False if it is left first.

        Not by the time at which a signal is heard, which is late where another thread is long in
        a call that keeps Python: what is there to be heard at the end is of the instant.
        """
        while True:
            self._ours.settimeout(max(0.0, self._instant_ends - time.monotonic()))
            try:
                if not self._ours.recv(1):
                    return False
            except (TimeoutError, BlockingIOError):
                return True
