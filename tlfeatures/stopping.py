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

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME = 0.3  # seconds in which signals are one: `timeout` sends its own twice


def _ignored(number: int, frame: FrameType | None) -> None:
    pass


class Stopping:
    """While it is entered, a first signal asks to stop and a second one ends the process.

    Work that can stop at moments of its own calls it to ask whether to. Before it has asked for
    the first time, a signal interrupts it at once. A signal that the process ignores stays
    ignored, and outside of the main thread nothing happens at all.

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
        for number in self._old:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Whatever came of the interrupt: a library may turn it into an error of its own.
        interrupted = kind is not None and self._asked and not self._begun
        self._left = True
        for number, old in self._old.items():
            signal.signal(number, old)
        if self._old:
            signal.set_wakeup_fd(self._old_fd)
            self._theirs.close()
            self._watching.join()
            self._ours.close()
        if interrupted:
            raise StoppedError("Stopped before the first batch, nothing is lost") from None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Run in the main thread, once that is in Python again."""
        for each in self._old:
            signal.signal(each, _ignored)  # the watcher hears of the next one
        self._asked = True
        if not (self._begun or self._left):
            raise KeyboardInterrupt

    def _watch(self) -> None:
        """Hear of signals also while the main thread is in a long call of another library."""
        first = None
        while heard := self._ours.recv(1):
            if heard[0] not in self._old:
                continue
            now = time.monotonic()
            if first is None:
                first, self._asked = now, True
                with contextlib.suppress(OSError):  # nobody may be there to be told
                    self._say(self._begun)
            elif now - first > _SAME:
                os._exit(128 + heard[0])  # as the shell counts who was ended by a signal
