"""One figure of a benchmark, in a file."""

import pytest
from click.testing import CliRunner
from PIL import Image

from tlfeatures import plot
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError
from tlfeatures.reports.report import FIGURES


@pytest.mark.parametrize("what", FIGURES)
@pytest.mark.slow
def test_every_figure_is_drawn(page_folder, tmp_path, what):
    plot(page_folder / "out", what, tmp_path / "a.svg", n_jobs=1)
    assert (tmp_path / "a.svg").read_text().count("<text") >= 2


def test_a_figure_is_of_the_kind_its_name_says(page_folder, tmp_path):
    plot(page_folder / "out", "confusion", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
    with pytest.raises(ParameterError, match=r"expected a name ending in \.png or"):
        plot(page_folder / "out", "confusion", tmp_path / "a.bmp")
    with pytest.raises(ParameterError, match="there is no figure 'ruc'; there are: roc"):
        plot(page_folder / "out", "ruc", tmp_path / "a.png")


def test_epochs_of_a_head_that_has_none(page_folder, tmp_path):
    with pytest.raises(ParameterError, match="logreg doesn't train in epochs; add mlp"):
        plot(page_folder / "out", "loss", tmp_path / "a.png", head="logreg")


def test_epochs_are_of_the_embedding_that_was_asked_for(page_copy, tmp_path):
    for name in ("grid8.avg", "grid8.flatten"):
        plot(page_copy / "out", "loss", tmp_path / "a.svg", embedding=name, n_jobs=1)
        assert f"mlp on {name}" in (tmp_path / "a.svg").read_text()


def test_the_command_draws_a_figure(page_folder, tmp_path):
    words = ["plot", page_folder / "out", "--what", "confusion", "-o", tmp_path / "c.png"]
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "c.png") as image:
        assert image.format == "PNG"
