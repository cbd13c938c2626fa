"""A page in a real browser: Debian's chromium, driven by playwright."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tlfeatures import benchmark, extract, report

CLASSES = ["<script>alert(1)</script>", "a \"quoted\" 'class' & more", "plain"]
PATIENCE = 120_000  # milliseconds that are waited for what ends sooner, on a busy machine too
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

expect.set_options(timeout=PATIENCE)


def find_chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.exit("no chromium is installed: apt-get install chromium", returncode=2)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        # Without a sandbox: CI runs as root, and the page is our own.
        running = play.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox"], timeout=PATIENCE
        )
        yield running
        running.close()


def write_images(folder: Path) -> None:
    """Forty images a class: three colours that overlap, so that some are told wrong."""
    random = np.random.default_rng(0)
    for code in range(len(CLASSES)):
        for number in range(40):
            tint = random.normal(0, 22, 3) + 24 * np.eye(3)[code]
            noise = random.normal(0, 20, (40, 56, 3))
            pixels = np.clip(120 + tint + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / image_name(code, number))


def image_name(code: int, number: int) -> str:
    return f'it\'s "{code}" <b>{number:02d}</b>.png'.replace("/", "")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a benchmark of three classes whose names and ids try to be markup."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "images").mkdir()
    write_images(folder / "images")
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = [(image_name(c, n), CLASSES[c]) for c in range(len(CLASSES)) for n in range(40)]
        csv.writer(file).writerows([("id", "label"), *rows])
    extract(
        folder / "images", folder / "a.h5", backbone="pixels", size=32, pools=["avg", "flatten"]
    )
    benchmark(
        folder / "a.h5",
        heads=["logreg", "mlp", "knn", "dummy"],
        params={"steps": 100},  # of mlp: 34 epochs
        n_jobs=1,
        labels=folder / "labels.csv",
        out=folder / "out",
        command="tlfeatures benchmark '<b>a.h5</b>'",
    )
    return folder


@pytest.fixture(scope="session")
def page_file(made: Path) -> Path:
    report(made / "out", made / "report.html", n_jobs=1)
    return made / "report.html"


@dataclass
class Opened:
    """A page, and what it has asked for and said."""

    page: Page
    requests: list[str]
    said: list[str]
    dialogs: list[str]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Any]:
    contexts: list[BrowserContext] = []

    def open_it(file: Path, viewport: dict[str, int] = DESKTOP, **options: Any) -> Opened:
        context = browser.new_context(viewport=viewport, offline=True, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        opened = Opened(page, [], [], [])
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("console", lambda message: opened.said.append(message.text))
        page.on("pageerror", lambda error: opened.said.append(str(error)))
        page.on("dialog", lambda dialog: (opened.dialogs.append(dialog.message), dialog.dismiss()))
        page.goto(file.as_uri())
        return opened

    yield open_it
    for context in contexts:
        context.close()
