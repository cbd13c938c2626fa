"""What a person can do with the page, and what it never does."""

import io
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import CLASSES, DESKTOP, PHONE
from tlfeatures import load_benchmark
from tlfeatures.reports.benchmark_analyses import Analyses

LAYOUT = Path(__file__).with_name("layout.js")
NUMBER = re.compile(r"-?[\d.]+(e-?\d+)?")
SORTED_TEXTS = "texts => texts.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }))"
SCHEMES = ["light", "dark"]
SIZES = {"phone": PHONE, "desktop": DESKTOP, "narrow": {"width": 320, "height": 700}}


def outside(requests):
    return [url for url in requests if not url.startswith(("file:", "data:"))]


def use_everything(page):
    """Touch all that the page lets one do."""
    for button in page.locator("button.sort").all():
        if button.is_visible():
            button.click()
    page.locator("button.cell").first.click()
    page.locator("#map-box").focus()
    page.keyboard.press("ArrowRight")
    page.locator("button.copy").first.click()
    with page.expect_download():
        page.locator("button[data-save=png]").first.click()


# ---- nothing leaves the page, nothing gets in


def test_no_request_is_tried_and_nothing_fails(open_page, page_file):
    opened = open_page(page_file)
    use_everything(opened.page)
    assert outside(opened.requests) == []
    assert [url for url in opened.requests if url.startswith("file:")] == [page_file.as_uri()]
    assert opened.said == []


def test_names_that_are_markup_are_text(open_page, page_file):
    opened = open_page(page_file)
    page = opened.page
    use_everything(page)
    assert opened.dialogs == []
    for name in CLASSES:
        expect(page.locator("h1")).to_contain_text(name)
        assert page.locator(".matrix tbody th", has_text=name).count() == 1
        assert page.locator("svg text", has_text=name[:8]).count() >= 1
    assert page.locator("script:not([type])").count() == 1
    assert page.locator("button.copy b, h1 script, svg script, figcaption script").count() == 0
    first = page.locator("button.copy").first
    assert re.fullmatch(r"it's \"\d\" <b>\d\d<b>.png", first.get_attribute("data-copy"))
    assert first.get_attribute("data-copy") in first.inner_text()


def test_scripts_that_are_not_the_pages_own_cannot_run(open_page, page_file, tmp_path):
    bad = tmp_path / "bad.html"
    html = page_file.read_text()
    bad.write_text(html.replace("</main>", "<script>window.ran = 1</script></main>"))
    opened = open_page(bad)
    assert opened.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in text for text in opened.said)


# ---- what one can do


def test_a_cell_of_the_matrix_shows_its_images(open_page, page_file):
    page = open_page(page_file).page
    cell = page.locator(".matrix tbody tr").nth(0).locator("button.cell").nth(1)
    expect(page.locator("#cell-images")).to_be_hidden()
    cell.click()
    count = int(cell.locator("xpath=..").get_attribute("data-value"))
    shots = page.locator("#cell-images li")
    assert shots.count() == count > 0
    for text in shots.locator(".what").all_inner_texts():
        assert text == f"{CLASSES[0]}, predicted as {CLASSES[1]}"
    assert page.locator("#cell-images img").count() == count
    assert cell.get_attribute("aria-pressed") == "true"
    expect(page.locator("#cell-images h3")).to_be_focused()


def test_the_matrix_works_by_keyboard(open_page, page_file):
    page = open_page(page_file).page
    page.locator("button.cell").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#cell-images")).to_be_visible()
    page.locator("button.cell").nth(4).focus()
    page.keyboard.press("Space")
    assert page.locator("button.cell[aria-pressed=true]").count() == 1
    page.locator("button.cell").nth(4).focus()
    page.keyboard.press("Space")
    expect(page.locator("#cell-images")).to_be_hidden()


def test_a_cell_shows_its_images_bit_by_bit(open_page, page_file):
    page = open_page(page_file).page
    page.evaluate("for (const key of ['label', 'predicted']) album[key].fill(0)")
    page.locator("button.cell").first.click()
    assert page.locator("#cell-images li").count() == 48
    page.get_by_role("button", name="Show more").click()
    assert page.locator("#cell-images li").count() == 96
    expect(page.locator("#cell-images li").nth(48).locator("button")).to_be_focused()


def values_of(table, column):
    return table.locator("tbody tr").evaluate_all(
        "(rows, at) => rows.map((row) => row.children[at].dataset.value"
        " ?? row.children[at].textContent.trim())",
        column,
    )


@pytest.mark.parametrize("table", range(3))
def test_tables_sort(open_page, page_file, table):
    page = open_page(page_file).page
    page.locator("details").evaluate_all("all => all.forEach((each) => { each.open = true; })")
    sortable = page.locator("table.sortable").nth(table)
    headers = sortable.locator("thead th")
    for column in range(headers.count()):
        button = headers.nth(column).locator("button")
        ways = ["descending", "ascending"]
        known = [value for value in values_of(sortable, column) if value != ""]
        numbers = all(NUMBER.fullmatch(value) for value in known)
        for direction in ways if numbers else reversed(ways):
            button.click()
            assert headers.nth(column).get_attribute("aria-sort") == direction
            values = values_of(sortable, column)
            assert values[: len(known)] == [value for value in values if value != ""]
            keys = [float(value) for value in known] if numbers else known
            rising = sorted(keys) if numbers else page.evaluate(SORTED_TEXTS, keys)
            found = [float(value) for value in values[: len(known)]] if numbers else values
            assert found[: len(known)] == rising[:: 1 if direction == "ascending" else -1]
    assert sortable.locator("thead th:not([aria-sort=none])").count() == 1


def test_every_table_can_be_sorted_and_every_figure_saved(open_page, page_file):
    page = open_page(page_file).page
    assert page.locator("table").count() == page.locator("table.sortable").count() > 3
    figures = page.locator("figure.plot")
    assert figures.count() == page.locator("figure.plot button[data-save=svg]").count() > 8


def test_the_map_shows_the_image_under_the_pointer(open_page, page_file):
    page = open_page(page_file).page
    page.locator("#map-box").scroll_into_view_if_needed()
    mark = page.locator("#map-1 use").nth(7)
    card = page.locator("#map-card")
    expect(card).to_be_hidden()
    mark.hover(force=True)
    expect(card).to_be_visible()
    expect(card.locator("img")).to_have_attribute("src", re.compile("^data:image/webp"))
    box, frame = card.bounding_box(), page.locator("#map-box").bounding_box()
    assert frame["x"] <= box["x"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    page.mouse.move(5, 5)
    expect(card).to_be_hidden()


def test_the_map_shows_the_right_image(open_page, page_file, made):
    """Where the pointer is, the image lies that the embedding puts there."""
    analyses = Analyses(load_benchmark(made / "out"))
    rank = analyses.rank()
    rows, found = analyses.map(rank)
    ids = analyses.dataset(rank).ids[rows]
    page = open_page(page_file, {"width": 1280, "height": 1600}).page
    page.locator("#map-box").evaluate("box => box.scrollIntoView({ behavior: 'instant' })")
    # The two outermost images by each axis; y grows downwards in a window.
    marks = page.locator("#map-0 use, #map-1 use, #map-2 use").all()
    boxes = [mark.bounding_box() for mark in marks]
    middles = np.array([(b["x"] + b["width"] / 2, -b["y"] - b["height"] / 2) for b in boxes])
    for axis in range(2):
        for end in (0, -1):
            mark = int(np.argsort(middles[:, axis])[end])
            page.mouse.move(middles[mark, 0], -middles[mark, 1])
            expected = ids[np.argsort(found.points[:, axis])[end]]
            expect(page.locator("#map-card b")).to_have_text(str(expected))


def test_the_map_works_by_keyboard_and_touch(open_page, page_file):
    # Without smooth scrolling, which would still move the point when the finger comes down.
    page = open_page(page_file, PHONE, has_touch=True, reduced_motion="reduce").page
    page.locator("#map-box").focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("#map-card b").inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.locator("#map-card b").inner_text() != first
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("copied " + page.locator("#map-card b").inner_text())
    page.keyboard.press("Escape")
    expect(page.locator("#map-card")).to_be_hidden()
    page.locator("#map-0 use").nth(5).tap(force=True)
    expect(page.locator("#map-card")).to_be_visible()


def test_the_first_tap_shows_an_image_that_stays(open_page, page_file):
    page = open_page(page_file, PHONE, has_touch=True, reduced_motion="reduce").page
    page.locator("#map-1 use").nth(5).tap(force=True)
    page.wait_for_timeout(300)
    expect(page.locator("#map-card")).to_be_visible()


def test_an_id_is_copied(open_page, page_file):
    page = open_page(page_file, permissions=["clipboard-read", "clipboard-write"]).page
    button = page.locator("button.copy").nth(2)
    button.click()
    expect(page.locator("#said")).to_contain_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == button.get_attribute("data-copy")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_figures_are_saved_as_they_look_on_paper(open_page, page_file, scheme):
    page = open_page(page_file, color_scheme=scheme).page
    for figure in page.locator("figure.plot").all():
        with page.expect_download() as download:
            figure.locator("button[data-save=svg]").click()
        text = download.value.path().read_text()
        assert "var(" not in text
        assert ElementTree.fromstring(text).tag.endswith("svg")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_figure_is_saved_as_pixels(open_page, page_file, scheme):
    page = open_page(page_file, color_scheme=scheme).page
    with page.expect_download() as download:
        page.locator("#fig-confusion button[data-save=png]").click()
    assert download.value.suggested_filename == "confusion.png"
    image = Image.open(io.BytesIO(download.value.path().read_bytes())).convert("RGB")
    assert image.getpixel((2, 2)) == (255, 255, 255)
    assert len(image.getcolors(10**6)) > 20


# ---- how it looks


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_cut_off_or_wider_than_the_window(open_page, page_file, size):
    page = open_page(page_file, SIZES[size], bypass_csp=True).page
    page.locator("button.cell").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    page.add_script_tag(path=LAYOUT)
    assert page.evaluate("cutOff()") == []


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_no_text_of_a_figure_is_cut_off_or_lies_on_another(open_page, page_file, size):
    page = open_page(page_file, SIZES[size], bypass_csp=True).page
    page.add_script_tag(path=LAYOUT)
    assert page.evaluate("collisions()") == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_it_is_accessible(open_page, page_file, scheme, size):
    """By the rules of axe-core: names, roles, contrast, headings, keyboard, in both themes."""
    page = open_page(page_file, SIZES[size], color_scheme=scheme, bypass_csp=True).page
    page.locator("button.cell").first.click()
    page.locator("#map-box").focus()
    page.keyboard.press("ArrowRight")
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()


def test_headings_are_in_order_and_pictures_have_alternatives(open_page, page_file):
    page = open_page(page_file).page
    levels = [int(h.evaluate("e => e.tagName[1]")) for h in page.locator("h1, h2, h3").all()]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator(".svg[role=img]:not([aria-label])").count() == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_paper_is_white(open_page, page_file, scheme):
    page = open_page(page_file, color_scheme=scheme).page
    background = "getComputedStyle(document.body).backgroundColor"
    assert (page.evaluate(background) == "rgb(255, 255, 255)") == (scheme == "light")
    page.emulate_media(media="print")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("button[data-save]").first).to_be_hidden()
    assert page.pdf().startswith(b"%PDF")


def test_it_reads_without_scripts(open_page, page_file):
    page = open_page(page_file, java_script_enabled=False).page
    expect(page.locator(".answer")).to_contain_text("95 % interval")
    assert page.locator("#errors .gallery img").count() > 10
    assert page.locator("figure.plot svg").count() > 8
