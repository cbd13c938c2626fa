"""Take the pictures of docs/notebook.md: `python docs/notebook_screenshots.py FILE.h5 [FOLDER]`.

They are written into this folder, or into the one that is named after the file. The pictures in the
document are of the 1,078 Intel scenes, which are not part of this repository:

    tlfeatures extract scenes -o scenes.h5 --size 150
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from screenshots import DOCS, opened, save, sheet, shot

from tlfeatures import cross_validate, fit, load_dataset

WIDE, PHONE = {"width": 800, "height": 900}, {"width": 390, "height": 844}
PAPER = {"light": "#ffffff", "dark": "#14171c"}


def write_page(file: str, page: Path) -> None:
    """Write a page with the tables of a dataset, a fit and an evaluation."""
    data = load_dataset(file)
    results = [data, fit(data, ["logreg", "knn", "dummy"]), cross_validate("logreg", data)]
    gap = 'style="margin-bottom: 14px"'
    cells = "".join(f"<div {gap}>{result._repr_html_()}</div>" for result in results)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    page.write_text(f"<!doctype html>{head}<title>Results</title><main>{cells}</main>", "utf-8")


def take(browser: Browser, page: Path, folder: Path) -> None:
    """Take the results in light and in dark, beside each other, and on a phone."""
    wide = [shot(opened(browser, page, WIDE, scheme), "main") for scheme in PAPER]
    save(sheet(wide, "#888888", across=True), folder / "notebook.png")
    phone = shot(opened(browser, page, PHONE, "dark"), "main")
    half = phone.height // 2
    parts = [phone.crop((0, top, phone.width, top + half)) for top in (0, half)]
    save(sheet(parts, "#888888", across=True), folder / "notebook-phone.png")


def main(file: str, folder: Path = DOCS) -> None:
    """Take the pictures of the results of an embeddings file."""
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as play:
        page = Path(temporary) / "page.html"
        write_page(os.path.relpath(file), page)
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        take(browser, page, folder)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
