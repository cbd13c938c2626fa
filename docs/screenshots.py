"""Take the pictures of a page that README shows: `python docs/screenshots.py REPORT.html`.

They are written into this folder, or into the one that is named after the page. The page in README
is of the 1,078 Intel scenes, which are not part of this repository:

    tlfeatures extract scenes -o scenes.h5 --size 150 --layer block4_pool --layer block5_pool
    tlfeatures benchmark scenes.h5 --repeats 2 -o results --report scenes.html
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).parent
MARGIN = 14  # pixels
DESKTOP, PHONE = {"width": 1180, "height": 900}, {"width": 390, "height": 844}


def opened(browser: Browser, file: Path, viewport: dict[str, int], scheme: str = "light") -> Page:
    """Open the page as somebody would."""
    page = browser.new_page(viewport=viewport, color_scheme=scheme, offline=True)
    page.goto(file.absolute().as_uri())
    return page


def shot(page: Page, selector: str, height: int | None = None) -> Image.Image:
    """Take one part of the page, or the top of it."""
    data = page.locator(selector).screenshot()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return image if height is None else image.crop((0, 0, image.width, min(height, image.height)))


def sheet(images: list[Image.Image], paper: str, across: bool) -> Image.Image:
    """Lay pictures out beside each other or below each other, with a margin around each."""
    widths, heights = (
        [i.width + 2 * MARGIN for i in images],
        [i.height + 2 * MARGIN for i in images],
    )
    size = (sum(widths), max(heights)) if across else (max(widths), sum(heights))
    made = Image.new("RGB", size, paper)
    left = top = MARGIN
    for image, width, height in zip(images, widths, heights, strict=True):
        made.paste(image, (left, top))
        left, top = (left + width, top) if across else (left, top + height)
    return made


def save(image: Image.Image, path: Path) -> None:
    """Save with 256 colours: a third of the size."""
    image.quantize(256).save(path, optimize=True)


def desktop(browser: Browser, file: Path, scheme: str) -> Image.Image:
    """Take what a desktop shows: answer, heads, errors, and the map with a point's image."""
    page = opened(browser, file, DESKTOP, scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    top, heads = shot(page, "header"), shot(page, "#heads .plots")
    errors = shot(page, "#errors", 1000)
    page.locator("#map-box").focus()
    marks = page.locator("#map-0 use")
    mark = marks.nth(min(40, marks.count() - 1))
    mark.evaluate("mark => mark.scrollIntoView({block: 'center', behavior: 'instant'})")
    mark.hover(force=True)
    return sheet([top, heads, errors, shot(page, "#map")], paper, across=False)


def phone(browser: Browser, file: Path) -> Image.Image:
    """Take what a phone shows, side by side; the panel is that of a cell of the matrix."""
    page = opened(browser, file, PHONE)
    page.locator("button.cell").nth(1).click()
    parts = ("header", "#heads .plots", "#cell-images", "#map")
    return sheet([shot(page, part, 1000) for part in parts], "#d8dde3", across=True)


def main(file: Path, folder: Path = DOCS) -> None:
    """Take all pictures of a page."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        save(desktop(browser, file, "light"), folder / "report.png")
        save(desktop(browser, file, "dark"), folder / "report-dark.png")
        save(phone(browser, file), folder / "report-phone.png")
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
