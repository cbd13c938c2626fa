"""What holds for every figure: its looks, its files, and that matplotlib stays as it was."""

import re
from functools import cache
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.unit.drawings import COLOR_MAPS, FIGURES, HEX, tagged
from tlfeatures.errors import ParameterError
from tlfeatures.reports.drawing import cells, figure_files, style

# ---- how each looks


@cache
def svg_by_name(name):
    """Draw a figure; the text is kept for the tests that only read it."""
    return figure_files.to_svg(FIGURES[name](), "x")


@pytest.mark.parametrize("name", FIGURES)
def test_it_draws_on_given_axes_and_on_its_own(name):
    given = Figure().add_subplot()
    assert FIGURES[name](given) is given
    assert given.figure.get_size_inches().tolist() == Figure().get_size_inches().tolist()
    own = FIGURES[name]()
    assert own.figure is not given.figure
    assert own.has_data()


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.slow
def test_the_users_settings_do_not_enter_and_stay_as_they_were(name):
    plain = svg_by_name(name)
    mine = {"axes.facecolor": "red", "font.size": 20, "text.color": "red", "axes.grid": False}
    with matplotlib.rc_context(mine):
        before = dict(matplotlib.rcParams)
        assert figure_files.to_svg(FIGURES[name](), "x") == plain
        FIGURES[name](Figure().add_subplot())
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", FIGURES)
def test_every_color_is_of_the_table(name):
    """The page puts its own in their place, for a dark theme; those of cells stay."""
    svg = svg_by_name(name)
    others = set(HEX.findall(svg)) - set(style.COLORS.values())
    if name in COLOR_MAPS:
        others -= {*color_map(), cells.ON_DARK, cells.ON_LIGHT}
    assert not others
    root = ElementTree.fromstring(svg)
    texts = tagged(root, "text")
    assert texts
    assert all("fill: #" in text.get("style", "") for text in texts)
    painted = re.findall(r"\b(?:fill|stroke): ([^;\"]+)", svg)
    assert painted
    assert all(value == "none" or HEX.fullmatch(value) for value in painted)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.slow
def test_an_svg_can_stand_in_a_page(name):
    svg, other = svg_by_name(name), figure_files.to_svg(FIGURES[name](), "y")
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert set(root.keys()) == {"viewBox", "style"}
    assert not tagged(root, "metadata") + tagged(root, "style")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"[(\"]#([^)\"]+)", svg))
    assert {id_ for id_ in ids if not id_.startswith("map-")} == used
    shared = set(ids) & {element.get("id") for element in ElementTree.fromstring(other).iter()}
    assert all(id_.startswith("map-") for id_ in shared)


# ---- files


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.slow
def test_writing_a_figure_changes_nothing_in_it(name, tmp_path):
    axes = FIGURES[name]()
    figure_files.save_figure(axes, tmp_path / "one.svg")
    assert figure_files.to_svg(axes, "x") == svg_by_name(name)


@pytest.mark.parametrize("name", ["large confusion", "map"])
def test_writing_a_figure_twice_gives_the_same(name, tmp_path):
    axes = FIGURES[name]()
    for file in ("one.svg", "two.svg"):
        figure_files.save_figure(axes, tmp_path / file)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_the_same_figure_gives_the_same_bytes(kind, tmp_path):
    before = dict(matplotlib.rcParams)
    for name in ("one", "two"):
        figure_files.save_figure(FIGURES["map"](), tmp_path / f"{name}.{kind}")
    assert dict(matplotlib.rcParams) == before
    one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
    assert one == two
    assert len(one) > 1000


def test_a_figure_is_saved_as_well_as_its_axes(tmp_path):
    axes = FIGURES["map"]()
    figure_files.save_figure(axes.figure, tmp_path / "figure.SVG")
    figure_files.save_figure(axes, tmp_path / "axes.svg")
    assert (tmp_path / "figure.SVG").read_bytes() == (tmp_path / "axes.svg").read_bytes()


def test_wrong_paths_are_said(tmp_path):
    with pytest.raises(ParameterError, match=r"expected a name ending in \.png, \.svg or \.pdf"):
        figure_files.save_figure(FIGURES["map"](), tmp_path / "x.jpg")
    with pytest.raises(ParameterError, match="in a folder that does not exist"):
        figure_files.save_figure(FIGURES["map"](), tmp_path / "none" / "x.png")


# ---- colours


def test_colors_are_distinct_and_can_be_seen():
    colors = list(style.COLORS.values())
    assert len(set(colors)) == len(colors)
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)

    def luminance(color):
        levels = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    for name in ("ink", "muted", "accent", *(f"c{place}" for place in range(8))):
        assert 1.05 / (luminance(style.COLORS[name]) + 0.05) >= 3, name


def color_map():
    levels = matplotlib.colormaps[cells.COLOR_MAP](np.arange(256))
    return {matplotlib.colors.to_hex(level) for level in levels}


def test_no_color_map_has_a_color_of_the_table():
    """The page would replace it."""
    assert len(color_map()) > 200
    assert not color_map() & set(style.COLORS.values())
    assert not {cells.ON_DARK, cells.ON_LIGHT} & set(style.COLORS.values())


def test_a_title_wider_than_its_figure_is_not_cut(tmp_path):
    pictures = []
    for title in ("", "gradient-boosting on block5_pool.avg"):
        axes = FIGURES["confusion"]()
        axes.set_title(title, loc="left")
        figure_files.save_figure(axes, tmp_path / "x.png")
        pictures.append(np.asarray(Image.open(tmp_path / "x.png").convert("L")))
    plain, titled = pictures
    assert titled.shape[1] > plain.shape[1]
    assert len(set(titled[:, -1])) == 1  # no letter reaches the edge
