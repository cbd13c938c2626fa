"""Names in any script are drawn with a font that has them, or the characters are named."""

import logging
import unicodedata

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from PIL import Image

from tests.unit.drawings import map_of, predictions, texts_of
from tlfeatures import EmbeddingMapDisplay, PrecisionRecallDisplay, RocDisplay
from tlfeatures.reports.diagnostics import precision_recall, roc
from tlfeatures.reports.drawing.figure_files import save_figure

FAMILY = "Tlfeatures Test"
# Characters for private use: no font of the machine has them.
OURS, NOBODYS = "\U0010fffa\U0010fffb", "\U0010fffc"


def write_font(path, characters):
    """Write a font that has a square for each of these characters."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (900, 700), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"square{number}" for number in range(len(characters)))]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": FAMILY, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


@pytest.fixture
def our_font(tmp_path):
    write_font(tmp_path / "ours.ttf", OURS)
    fontManager.addfont(tmp_path / "ours.ttf")
    yield
    fontManager.ttflist[:] = [entry for entry in fontManager.ttflist if entry.name != FAMILY]


def figure_with(name):
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], label=name)
    axes.set_xticks([0, 1], [name, "plain"])
    axes.legend(title=name)
    return figure


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_an_installed_font_draws_what_the_own_font_lacks(our_font, tmp_path, caplog, kind):
    figure = figure_with(f"ab{OURS}")
    save_figure(figure, tmp_path / f"figure.{kind}")
    assert not caplog.records
    axes = figure.axes[0]
    drawn = [axes.get_xticklabels()[0], *axes.get_legend().get_texts()]
    assert all(FAMILY in text.get_fontfamily() for text in drawn)
    assert FAMILY not in axes.get_xticklabels()[1].get_fontfamily()


def test_the_installed_font_is_seen_in_the_picture(tmp_path, request):
    save_figure(figure_with(OURS), tmp_path / "boxes.png")
    request.getfixturevalue("our_font")
    save_figure(figure_with(OURS), tmp_path / "drawn.png")
    boxes, drawn = (np.asarray(Image.open(tmp_path / name)) for name in ("boxes.png", "drawn.png"))
    assert boxes.shape == drawn.shape
    assert (boxes != drawn).any()


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_characters_that_no_font_has_are_named(our_font, tmp_path, caplog, kind):
    path = tmp_path / f"figure.{kind}"
    save_figure(figure_with(f"ab{NOBODYS}{OURS}"), path)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert said.startswith(f"{path} has boxes instead of 1 characters")
    assert f"({NOBODYS})" in said


def test_an_svg_keeps_text_and_says_nothing(tmp_path, caplog):
    save_figure(figure_with(NOBODYS), tmp_path / "figure.svg")
    assert NOBODYS in (tmp_path / "figure.svg").read_text("utf-8")
    assert not caplog.records


@pytest.mark.parametrize("name", ["plain", "Ä é ñ", "Жук", "λ", "a\tb"])
def test_names_that_the_own_font_has_change_nothing(tmp_path, caplog, name):
    figure = figure_with(unicodedata.normalize("NFC", name))
    before = figure.axes[0].get_xticklabels()[0].get_fontfamily()
    save_figure(figure, tmp_path / "figure.png")
    assert figure.axes[0].get_xticklabels()[0].get_fontfamily() == before
    assert not caplog.records


NAMED = ("_", "_a", "__init__", "b")


def test_a_map_names_classes_that_begin_with_an_underscore():
    points, _ = map_of(40, NAMED)
    texts = texts_of(EmbeddingMapDisplay(points, np.array(NAMED * 10)).plot().ax_)
    assert {text.strip() for text in texts} >= set(NAMED)


@pytest.mark.parametrize(
    ("plot", "curves"),
    [(RocDisplay, roc), (PrecisionRecallDisplay, precision_recall)],
)
def test_curves_name_classes_that_begin_with_an_underscore(plot, curves):
    texts = texts_of(plot(curves(predictions(4, names=NAMED))).plot().ax_)
    assert {text.strip().split(" ")[0] for text in texts} >= set(NAMED)
