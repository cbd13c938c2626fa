"""Results as a notebook shows them: readable in each theme, on a phone, and never too wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from tests.browser.conftest import DESKTOP, PHONE
from tests.one_of_each import one_of_each

LAYOUT = Path(__file__).with_name("layout.js")
SIZES = {"phone": PHONE, "desktop": DESKTOP, "narrow": {"width": 320, "height": 700}}
SCHEMES = ["light", "dark"]
# Rules for tables as notebooks have them: centred, narrow, striped, with lines that don't break.
NOTEBOOK = """
.host table { margin: 0 auto; table-layout: fixed; font-size: 12px; border: 1px solid red; }
.host td, .host th, .host tr { text-align: right; vertical-align: middle; max-width: none; }
.host tbody tr:nth-child(odd) { background: #e0e0e0; }
.host p { margin: 0 0 1em; color: #ccc; }
.host dl dt { float: left; clear: both; width: 5%; font-weight: 700; }
.host dl dd { margin-left: 30%; padding: 2em; }
"""
DARK_PAPER, LIGHT_PAPER = "rgb(20, 23, 28)", "rgb(255, 255, 255)"


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The HTML of one result of each kind."""
    results = one_of_each(tmp_path_factory.mktemp("results"))
    return {name: result._repr_html_() for name, result in results.items()}


def write_page(folder: Path, shown: dict[str, str], body: str = "", root: str = "") -> Path:
    """Write a page of results, as a notebook that sets these attributes for its theme."""
    cells = "\n".join(
        f'<section class="host" id="cell-{place}"><h2>{name}</h2>{html}</section>'
        for place, (name, html) in enumerate(shown.items())
    )
    (folder / "notebook.html").write_text(
        f'<!doctype html><html lang="en" {root}><head><meta charset="utf-8"><title>Results</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{NOTEBOOK}</style></head><body {body} style="background: #fff; margin: 8px">'
        f"<main><h1>Results</h1>{cells}</main></body></html>",
        encoding="utf-8",
    )
    return folder / "notebook.html"


@pytest.fixture
def page_file(tmp_path: Path, shown: dict[str, str]) -> Path:
    return write_page(tmp_path, shown)


def paper_of(page: Any) -> str:
    paper: str = page.locator(".tlf-result").first.evaluate(
        "element => getComputedStyle(element).backgroundColor"
    )
    return paper


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window_or_cut_off(open_page, page_file, size):
    page = open_page(page_file, SIZES[size]).page
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    page.add_script_tag(path=LAYOUT)
    assert page.evaluate("cutOff()") == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_it_is_accessible(open_page, page_file, scheme, size):
    """By the rules of axe-core, such as contrast, on the background of the results."""
    found = Axe().run(open_page(page_file, SIZES[size], color_scheme=scheme).page)
    assert found.response["violations"] == [], found.generate_report()


@pytest.mark.parametrize(
    ("body", "root", "paper"),
    [
        ('data-jp-theme-light="true"', "", LIGHT_PAPER),
        ('data-jp-theme-light="false"', "", DARK_PAPER),
        ('class="vscode-light"', "", LIGHT_PAPER),
        ('class="vscode-dark"', "", DARK_PAPER),
        ('class="vscode-high-contrast"', "", DARK_PAPER),
        ('class="vscode-high-contrast vscode-high-contrast-light"', "", LIGHT_PAPER),
        ("", "theme=dark", DARK_PAPER),
        ("", 'data-theme="light"', LIGHT_PAPER),
    ],
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_theme_of_the_notebook_counts_more_than_that_of_the_system(
    open_page, shown, tmp_path, scheme, body, root, paper
):
    file = write_page(tmp_path, {"Dataset": shown["Dataset"]}, body, root)
    page = open_page(file, color_scheme=scheme).page
    assert paper_of(page) == paper
    assert Axe().run(page).response["violations"] == []
    page.emulate_media(media="print", color_scheme=scheme)
    assert paper_of(page) == LIGHT_PAPER


def test_rules_of_the_notebook_don_t_change_the_tables(open_page, page_file):
    page = open_page(page_file).page
    style = page.locator("tbody td").first.evaluate(
        "cell => { const own = getComputedStyle(cell), row = getComputedStyle(cell.parentElement);"
        " return [own.textAlign, own.verticalAlign, row.backgroundColor,"
        " getComputedStyle(cell.closest('table')).borderTopWidth]; }"
    )
    assert style == ["left", "top", "rgba(0, 0, 0, 0)", "0px"]
    name, value = (page.locator(tag).first.bounding_box() for tag in ("dt", "dd"))
    assert name["width"] > 80
    assert name["height"] == value["height"] < 30  # one line each
    assert value["x"] - name["x"] - name["width"] < 40


def test_names_that_are_markup_are_text(open_page, page_file):
    opened = open_page(page_file)
    assert opened.dialogs == []
    assert opened.said == []
    assert opened.page.locator("script, b, i, u").count() == 0
    assert opened.page.locator("th", has_text="<script>alert(1)</script>").count() > 2


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_each_result_is_a_picture(open_page, page_file, shown, tmp_path, scheme, size):
    page = open_page(page_file, SIZES[size], color_scheme=scheme).page
    for place, name in enumerate(shown):
        path = tmp_path / f"{name}-{size}-{scheme}.png"
        page.locator(f"#cell-{place} .tlf-result").screenshot(path=path)
        picture = Image.open(path).convert("L")
        (_, paper), *_ = sorted(picture.getcolors(), reverse=True)
        assert (paper > 200) == (scheme == "light")
        assert len(picture.getcolors()) > 20  # text is drawn on it
