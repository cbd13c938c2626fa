"""What a colleague can do with the page of labels, and what it never does."""

import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import CLASSES, DESKTOP, PHONE
from tlfeatures import Model, fit, report_labels

LAYOUT = Path(__file__).with_name("layout.js")
SCHEMES = ["light", "dark"]
SIZES = {"phone": PHONE, "desktop": DESKTOP, "narrow": {"width": 320, "height": 700}}

NAMES = {
    "markup": "<img src=x onerror=alert(1)>",
    "reversed": "\u202egnp.exe",
    "right to left": "صورة العثة",
    "two lines": "a\nb",
    "long": "unbrokenname" * 19,
    "accents": "Köcherfliege",
}


@pytest.fixture(scope="module")
def labels_file(made, tmp_path_factory):
    """A page of 40 images and some with hostile names, an outlier, and one that can't be read."""
    folder = tmp_path_factory.mktemp("labels")
    new = folder / "new <i>images"
    new.mkdir()
    sources = sorted((made / "images").iterdir())
    for path in sources[::3]:
        shutil.copy(path, new)
    for name, source in zip(NAMES.values(), sources[1::3], strict=False):
        shutil.copy(source, new / f"{name.replace('/', '')}.png")
    Image.new("RGB", (56, 40), "yellow").save(new / "yellow.png")
    (new / "<b>bad.png").write_text("text")
    fit(made / "a.h5", "logreg", labels=made / "labels.csv", model=folder / "m.model",
        embedding="grid8.avg")  # fmt: skip
    model = Model.load(folder / "m.model")
    predictions = model.iter_predict(new, outliers=True, min_confidence=0.4)
    report_labels(predictions, folder / "labels.html", model=model, model_name="<b>m</b>.model")
    return folder / "labels.html"


def shown(page):
    return page.locator(".gallery > li:visible")


# ---- nothing leaves the page, nothing gets in


def test_no_request_is_tried_and_names_are_text(open_page, labels_file):
    opened = open_page(labels_file)
    page = opened.page
    page.locator("#by-name").fill("a")
    page.locator("#by-label").select_option(index=1)
    page.locator("button.copy:visible").first.click()
    assert [url for url in opened.requests if not url.startswith("data:")] == [labels_file.as_uri()]
    assert (opened.said, opened.dialogs) == ([], [])
    assert page.locator("main img:not([src^='data:image/webp']), main i").count() == 0
    assert page.locator(".gallery bdi *, main :is(dd, li, th) > bdi *").count() == 0
    for name in CLASSES:
        assert page.locator("#classes th", has_text=name).count() == 1
    expect(page.locator("#unreadable li")).to_contain_text("<b>bad.png: not an image")


def test_a_name_that_would_reverse_the_text_is_escaped(open_page, labels_file):
    page = open_page(labels_file).page
    assert page.locator(".gallery li", has_text=r"\u202egnp.exe.png").count() == 1
    assert page.locator(".gallery li", has_text=r"a\nb.png").count() == 1
    assert page.locator(".gallery li", has_text=NAMES["right to left"]).count() == 1


# ---- what one can do


def test_images_are_chosen_by_label(open_page, labels_file):
    page = open_page(labels_file).page
    every = shown(page).count()
    assert every == 47
    expect(page.locator("#count")).to_have_text("47 of 47 images shown")
    options = page.locator("#by-label option").all_inner_texts()
    assert options[0] == "all"
    seen = 0
    for number, name in enumerate(options[1:], 1):
        page.locator("#by-label").select_option(index=number)
        here = shown(page).count()
        assert here > 0
        assert page.locator(".gallery > li:visible .what", has_text=name).count() == here
        expect(page.locator("#count")).to_have_text(f"{here} of 47 images shown")
        seen += here
    assert seen == every


def test_images_are_found_by_a_part_of_the_name(open_page, labels_file):
    page = open_page(labels_file).page
    for text in ("köcher", "KOCHERFLIEGE", NAMES["long"], "العثة"):
        page.locator("#by-name").fill(text)
        assert shown(page).count() == 1, text
    page.locator("#by-name").fill("no such name")
    expect(page.locator("#nothing")).to_be_visible()
    expect(page.locator("#count")).to_have_text("0 of 47 images shown")
    page.locator("#by-name").fill("")
    assert shown(page).count() == 47


def test_outliers_are_marked_and_can_be_chosen(open_page, labels_file):
    page = open_page(labels_file).page
    page.get_by_label("outliers only").check()
    texts = shown(page).all_inner_texts()
    assert any("yellow.png" in text for text in texts)
    assert all("outlier" in text for text in texts)
    assert page.locator(".flag").count() == len(texts) < 10


def test_it_works_by_keyboard(open_page, labels_file):
    page = open_page(labels_file).page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.locator("#by-label").focus()
    page.keyboard.press("ArrowDown")
    assert shown(page).count() < 47
    page.keyboard.press("Tab")
    page.keyboard.type("yellow")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("#by-outlier")).to_be_checked()
    page.locator("#by-label").select_option(index=0)
    assert shown(page).count() == 1
    page.keyboard.press("Tab")


def test_the_path_of_an_image_is_copied(open_page, labels_file):
    page = open_page(labels_file, permissions=["clipboard-read", "clipboard-write"]).page
    page.locator("#by-name").fill("yellow")
    page.locator("button.copy:visible").click()
    expect(page.locator("#said")).to_contain_text("copied")
    path = Path(page.evaluate("navigator.clipboard.readText()"))
    assert path.is_file()
    assert path.name == "yellow.png"


# ---- how it looks


def test_it_is_a_plain_list_without_scripts(open_page, labels_file):
    page = open_page(labels_file, java_script_enabled=False).page
    assert page.locator(".gallery > li").count() == 47
    assert page.locator(".gallery img").count() == 47
    expect(page.locator("#filter")).to_be_hidden()
    expect(page.locator("#nothing")).to_be_hidden()
    texts = page.locator(".gallery .what").all_inner_texts()
    values = [0.0 if text == "no label" else float(text.split()[-1]) for text in texts]
    assert values == sorted(values)


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_cut_off_or_wider_than_the_window(open_page, labels_file, size):
    page = open_page(labels_file, SIZES[size], bypass_csp=True).page
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    page.add_script_tag(path=LAYOUT)
    assert page.evaluate("cutOff()") == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_it_is_accessible(open_page, labels_file, scheme, size):
    """By the rules of axe-core: names, roles, contrast, headings, keyboard, in both themes."""
    page = open_page(labels_file, SIZES[size], color_scheme=scheme, bypass_csp=True).page
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_paper_is_white_and_has_what_is_chosen(open_page, labels_file, scheme):
    page = open_page(labels_file, color_scheme=scheme).page
    page.locator("#by-name").fill("yellow")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator("#filter")).to_be_hidden()
    assert shown(page).count() == 1
    assert page.pdf().startswith(b"%PDF")
