"""What a terminal shows while a command works and no step can be counted."""

import io
import re
import time
from types import SimpleNamespace

import pytest

from tlfeatures.terminal import progress
from tlfeatures.terminal.progress import ProgressBar, ProgressBars, WaitingLine


class Screen(io.StringIO):
    """A terminal that keeps all that is written."""

    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0.01)
    monkeypatch.setattr(progress, "_TICK", 0.01)
    screen = Screen()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=screen))
    return screen


def wait_for(screen, text, after=0):
    """Wait until a text is written after so many characters; return where it is."""
    ends = time.monotonic() + 60
    while text not in screen.getvalue()[after:]:
        assert time.monotonic() < ends
        time.sleep(0.01)
    return screen.getvalue().index(text, after)


def test_a_line_counts_seconds_and_is_removed(screen):
    with WaitingLine("reading"):
        wait_for(screen, "reading: ")
    shown = screen.getvalue()
    *_, line, spaces, nothing = shown.split("\r")
    assert re.fullmatch("reading: [0-9]+ s", line)
    assert (spaces, nothing) == (" " * len(line), "")
    time.sleep(0.05)
    assert screen.getvalue() == shown


def test_a_short_wait_shows_nothing(screen, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 60)
    with ProgressBar():
        pass
    assert screen.getvalue() == ""


def test_a_file_gets_no_line(screen, monkeypatch):
    monkeypatch.setattr(screen, "isatty", lambda: False, raising=False)
    with WaitingLine():
        time.sleep(0.05)
    assert screen.getvalue() == ""


def test_a_bar_replaces_the_line(screen):
    with ProgressBar("folds") as bar:
        wait_for(screen, "working: ")
        bar.show(0, 2)
        start = wait_for(screen, "folds")
        time.sleep(0.05)
        bar.show(2, 2)
    assert "working" not in screen.getvalue()[start:]


def test_between_two_bars_there_is_a_line(screen):
    with ProgressBars() as bars:
        wait_for(screen, "working: ")
        bars.show("audit", 2, 2)
        first = wait_for(screen, "audit")
        line = wait_for(screen, "working: ", first)
        bars.show("epochs", 1, 2)
        second = wait_for(screen, "epochs", line)
    assert "working" not in screen.getvalue()[second:]
