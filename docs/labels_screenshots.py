"""Take the picture of docs/predict.md: `python docs/labels_screenshots.py LABELS.html [FOLDER]`.

It is written into this folder, or into the one that is named after the page. The picture in the
document is of parts of photographs that come with scikit-image:

    tlfeatures predict parts.model new --outliers --report labels.html
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from screenshots import DOCS, opened, save, sheet, shot

PHONE = {"width": 390, "height": 844}


def main(page: Path, folder: Path = DOCS) -> None:
    """Take the beginning of the page on a phone, in light and in dark."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        schemes = ("light", "dark")
        whole = [shot(opened(browser, page, PHONE, scheme), "body") for scheme in schemes]
        height = 2 * PHONE["height"]
        tops = [image.crop((0, 0, image.width, min(height, image.height))) for image in whole]
        save(sheet(tops, "#888888", across=True), folder / "labels-phone.png")
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
