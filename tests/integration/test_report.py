"""The page of photographs.

Promise: `report` makes one file with a map whose points show their images, all of them as
thumbnails; a thousand images take less than 5 MB.
"""

import base64
import io
import re
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.photographs import save_crops
from tlfeatures import benchmark, extract, report

pytestmark = pytest.mark.integration

SVG = "{http://www.w3.org/2000/svg}"
IMAGES = {"crops": 32, "reference": 1078}
LARGEST = {"crops": 300_000, "reference": 5_000_000}  # bytes


@pytest.fixture(scope="module")
def page(form, request, tmp_path_factory):
    """Of mean colours: the backbone doesn't change how large a page is."""
    folder = tmp_path_factory.mktemp("page")
    if form == "crops":  # larger than a thumbnail
        images = save_crops(
            folder / "images", {"galaxies": "hubble_deep_field", "grass": "grass"}, 16, side=128
        )
    else:
        images = request.getfixturevalue("data") / "intel"
    extract(images, folder / "a.h5", backbone="pixels", pools=["avg", "flatten"])
    heads = ["logreg", "dummy"] if form == "crops" else ["logreg", "mlp", "knn", "dummy"]
    benchmark(folder / "a.h5", heads=heads, out=folder / "out", n_jobs=1)
    without = ["learning-curve"]
    written = report(folder / "out", folder / "page.html", without=without, map="tsne", n_jobs=1)
    return folder / "page.html", written


@pytest.mark.slow
def test_a_page_is_small(page, form):
    file, written = page
    assert written.images == IMAGES[form]
    print(f"{written.images} images: {written.bytes:,} bytes")
    assert file.stat().st_size == written.bytes < LARGEST[form]


def test_every_image_is_in_the_page(page, form):
    shots = set(re.findall(r"data:image/webp;base64,[\w+/=]+", page[0].read_text()))
    sizes = {
        Image.open(io.BytesIO(base64.b64decode(shot.partition(",")[2]))).size for shot in shots
    }
    assert len(shots) == IMAGES[form]
    assert max(max(size) for size in sizes) == 96


def test_every_image_is_a_point_of_the_map(page, form):
    html = page[0].read_text()
    start = html.index("<svg", html.index('id="fig-map"'))
    svg = ElementTree.fromstring(html[start : html.index("</svg>", start) + len("</svg>")])
    groups = [each for each in svg.iter(f"{SVG}g") if each.get("id", "").startswith("map-")]
    assert sum(len(list(group.iter(f"{SVG}use"))) for group in groups) == IMAGES[form]
    assert "t-SNE" in "".join(svg.itertext())
