"""The page of 500 classes: it is small, and as readable as that of three classes."""

from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.browser.test_page import LAYOUT, SCHEMES, SIZES
from tlfeatures import benchmark, extract, report

CLASSES, OF_CLASS = 500, 3


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 500 classes of three images, of which many are confused."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(0)
    for code in range(CLASSES):
        own = folder / "images" / f"Genus number {code // 10:02d}, a long species name {code:03d}"
        own.mkdir(parents=True)
        tint = random.uniform(40, 215, 3)
        for number in range(OF_CLASS):
            noise = random.normal(0, 25, 3) + random.normal(0, 15, (16, 16, 3))
            pixels = np.clip(tint + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(own / f"{number}.png")
    extract(folder / "images", folder / "a.h5", backbone="pixels", size=16)
    benchmark(
        folder / "a.h5", heads="centroid", embeddings="grid8.avg", cv=3, near_duplicates=None,
        n_jobs=1, out=folder / "out",
    )  # fmt: skip
    report(folder / "out", folder / "page.html", without=["audit", "learning-curve"], n_jobs=1)
    return folder / "page.html"


def test_the_page_is_small(many):
    assert many.stat().st_size < 5_000_000


def test_its_tables_say_how_much_they_show(open_page, many):
    page = open_page(many).page
    pairs = page.locator("table.pairs-of-classes")
    assert pairs.locator("tbody tr").count() == 50
    expect(pairs.locator("caption")).to_contain_text("confused most often: 50 of ")
    classes = page.get_by_role("region", name="Table of classes")
    assert classes.locator("tbody tr").count() == 50
    expect(classes.locator("caption")).to_contain_text("50 of 500 classes")
    sets = page.get_by_role("region", name="Table of sets of labels")
    assert sets.locator("tbody tr").count() == 40
    expect(sets.locator("caption")).to_contain_text("40 of 500 classes")
    assert page.locator("table.matrix, #fig-confusion").count() == 0
    expect(page.locator("#fig-roc")).to_contain_text("The 8 of 500 classes")
    expect(page.locator("#made")).to_contain_text("and 400 more")


def test_a_pair_shows_its_images(open_page, many):
    page = open_page(many).page
    row = page.locator("table.pairs-of-classes tbody tr").first
    row.locator("button.cell").click()
    expect(page.locator("#cell-images")).to_be_visible()
    count = int(row.locator("td").nth(1).get_attribute("data-value"))
    shots = page.locator("#cell-images li")
    assert shots.count() == count > 0
    true, predicted = row.locator("th").inner_text(), row.locator("td").first.inner_text()
    for text in shots.locator(".what").all_inner_texts():
        assert text == f"{true}, predicted as {predicted}"
    assert page.locator("#cell-images img").count() == count


def test_the_pairs_can_be_sorted(open_page, many):
    page = open_page(many).page
    table = page.locator("table.pairs-of-classes")
    table.locator("button.sort", has_text="true class").click()
    names = table.locator("tbody th").all_inner_texts()
    assert names == sorted(names)


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_cut_off_or_wider_than_the_window(open_page, many, size):
    opened = open_page(many, SIZES[size], bypass_csp=True)
    page = opened.page
    page.locator("button.cell").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    page.add_script_tag(path=LAYOUT)
    assert page.evaluate("cutOff()") == []
    assert page.evaluate("collisions()") == []
    assert opened.said == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_it_is_accessible(open_page, many, scheme, size):
    page = open_page(many, SIZES[size], color_scheme=scheme, bypass_csp=True).page
    page.locator("button.cell").first.click()
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()
