"""The page of the real images."""

from xml.etree import ElementTree

import pytest

from tlfeatures import benchmark, extract, report

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    """All 1,078 scenes, by mean colours: the backbone doesn't change how large a page is."""
    folder = tmp_path_factory.mktemp("page")
    extract(data / "intel", folder / "a.h5", backbone="pixels", pools=["avg", "flatten"])
    benchmark(folder / "a.h5", heads=["logreg", "mlp", "knn", "dummy"], out=folder / "out")
    written = report(folder / "out", folder / "page.html", without=["learning-curve"], map="tsne")
    return folder / "page.html", written


def test_a_thousand_images_take_less_than_5_mb(page):
    file, written = page
    assert written.images == 1078
    assert file.stat().st_size == written.bytes < 5_000_000


def test_every_image_is_a_point_of_the_map(page):
    html = page[0].read_text()
    start = html.index("<svg", html.index('id="fig-map"'))
    svg = ElementTree.fromstring(html[start : html.index("</svg>", start) + len("</svg>")])
    groups = [each for each in svg.iter(f"{SVG}g") if each.get("id", "").startswith("map-")]
    assert sum(len(list(group.iter(f"{SVG}use"))) for group in groups) == 1078
    assert "t-SNE" in "".join(svg.itertext())
