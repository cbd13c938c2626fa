"""A run that is cut off, or stopped, is finished by the next one."""

import pytest

from tests.fakes import write_image
from tests.unit.data import cut_off, extract_pixels, rows_by_id
from tlfeatures.errors import StoppedError
from tlfeatures.features.file.reader import read_header


def partial_of(file):
    return file.with_name(f"{file.name}.partial")


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_cut_off_first_run_is_finished_by_the_next(photos, file, monkeypatch, batches):
    cut_off(monkeypatch, batches, photos, file)
    assert read_header(file).done.sum() == 5 * batches
    result = extract_pixels(photos, file)
    assert (result.computed, result.reused) == (24 - 5 * batches, 5 * batches)
    assert len(rows_by_id(file)) == 24


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_cut_off_addition_leaves_the_file_and_goes_on(photos, file, monkeypatch, batches):
    extract_pixels(photos, file)
    before = file.read_bytes()
    cut_off(monkeypatch, batches, photos, file, layers=["grid4"], pools=["max"])
    assert file.read_bytes() == before
    result = extract_pixels(photos, file, layers=["grid4"], pools=["max"])
    assert (result.computed, result.reused) == (24 - 5 * batches, 5 * batches)
    assert len(rows_by_id(file, "grid4.max")) == 24
    assert not list(file.parent.glob("*.partial"))


def test_a_begun_layer_is_finished_by_a_plain_run(photos, file, monkeypatch):
    extract_pixels(photos, file)
    cut_off(monkeypatch, 2, photos, file, layers=["grid4"], pools=["flatten"])
    result = extract_pixels(photos, file)
    assert (result.computed, result.reused) == (14, 10)
    assert set(result.embeddings) == {"grid8.avg", "grid4.flatten"}


def test_a_leftover_never_replaces_a_fresh_file(photos, file, monkeypatch):
    extract_pixels(photos, file)
    write_image(photos / "red" / "new.png", 1)
    cut_off(monkeypatch, 0, photos, file)
    assert partial_of(file).exists()
    file.unlink()
    extract_pixels(photos, file, size=20)
    header = read_header(file)
    assert (header.spec.size, header.done.sum()) == ((20, 20), 25)


def test_a_leftover_gives_its_rows_to_a_run_in_place(photos, file, monkeypatch):
    cut_off(monkeypatch, 1, photos, file)
    for seed in range(3):
        write_image(photos / "blue" / f"a{seed}.png", seed)
    cut_off(monkeypatch, 2, photos, file)
    for path in photos.glob("blue/a*.png"):
        path.unlink()
    result = extract_pixels(photos, file)
    assert result.computed + result.reused == 24 == read_header(file).done.sum()
    assert result.reused > 5
    assert not partial_of(file).exists()


def test_failures_are_recorded_also_after_a_cut_off_run(photos, file, monkeypatch):
    (photos / "red" / "zz.jpg").write_text("text")
    cut_off(monkeypatch, 4, photos, file)
    for _ in range(2):
        extract_pixels(photos, file)
        assert set(read_header(file).failures) == {"red/zz.jpg"}


# ---- stopped between two batches


def test_who_is_asked_between_batches_can_stop_and_goes_on_later(photos, file):
    answers = iter([False, False, True])
    with pytest.raises(StoppedError, match=r"after 10 of 24 images, which are safe in photos\.h5$"):
        extract_pixels(photos, file, stop=lambda: next(answers))
    assert read_header(file).done.sum() == 10
    result = extract_pixels(photos, file, stop=lambda: False)
    assert (result.computed, result.reused) == (14, 10)


def test_a_run_stopped_while_it_adds_says_where_its_rows_are(photos, file):
    extract_pixels(photos, file)
    before = file.read_bytes()
    answers = iter([False, True])
    options = {"layers": ["grid4"], "pools": ["max"]}
    with pytest.raises(StoppedError, match=r"5 of 24 .*photos\.h5\.partial \(photos\.h5 is as"):
        extract_pixels(photos, file, stop=lambda: next(answers), **options)
    assert file.read_bytes() == before
    assert extract_pixels(photos, file).computed == 19


def test_a_run_that_has_done_all_is_not_stopped(photos, file):
    asked = []
    extract_pixels(photos, file, stop=lambda: bool(asked.append(1)) or len(asked) > 5)
    assert len(asked) == 5
    assert read_header(file).done.all()
    extract_pixels(photos, file, stop=lambda: True)  # nothing to do, so nobody is asked


def test_a_run_stopped_before_its_first_batch_says_so(photos, file):
    with pytest.raises(StoppedError, match="before the first batch"):
        extract_pixels(photos, file, stop=lambda: True)
    assert extract_pixels(photos, file).computed == 24
