"""Answers as questions come in: batches that wait for nothing, and a stream of predictions."""

import itertools
import threading

import pytest

from tlfeatures import Model
from tlfeatures.errors import ModelError, ParameterError
from tlfeatures.models.incoming import in_batches


def test_an_item_does_not_wait_for_the_next():
    more = threading.Event()

    def items():
        yield 1
        assert more.wait(60)
        yield from range(2, 12)

    batches = in_batches(items(), 4)
    assert next(batches) == [1]
    more.set()
    rest = list(batches)
    assert [item for batch in rest for item in batch] == list(range(2, 12))
    assert all(len(batch) <= 4 for batch in rest)


def test_what_has_come_in_meanwhile_is_one_batch():
    all_there = threading.Event()

    def items():
        yield from range(7)
        all_there.set()

    batches = in_batches(items(), 32)
    first = next(batches)
    assert all_there.wait(60)
    assert first + [item for batch in batches for item in batch] == list(range(7))


def test_an_error_of_the_source_comes_after_what_was_before_it():
    def items():
        yield 1
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        seen += [batch for batch in in_batches(items(), 4) if not seen.append(batch)]
    assert seen == [[1]]


def test_who_stops_taking_batches_ends_the_reader():
    before = set(threading.enumerate())
    batches = in_batches(itertools.count(), 4)
    next(batches)
    (reader,) = set(threading.enumerate()) - before
    batches.close()
    reader.join(60)
    assert not reader.is_alive()


def test_who_stops_taking_predictions_ends_the_reader(fitted_model, photos):
    loaded, path = Model.load(fitted_model), str(photos / "red" / "red00.png")
    before = set(threading.enumerate())
    answers = loaded.predict_stream(itertools.repeat(path), batch_size=2)
    assert next(answers).label == "red"
    assert set(threading.enumerate()) - before
    answers.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()


def test_what_is_no_stream_is_refused_at_the_call(fitted_model):
    loaded = Model.load(fitted_model)
    with pytest.raises(ParameterError, match="1 or more"):
        loaded.predict_stream([], batch_size=0)
    with pytest.raises(ParameterError, match=r"paths is 'one\.png'; expected an iterable of paths"):
        loaded.predict_stream("one.png")


def test_the_stream_gives_what_predict_gives(fitted_model, photos):
    loaded = Model.load(fitted_model)
    paths = [str(path) for path in sorted(photos.glob("*/*"))]
    assert list(loaded.predict_stream(iter(paths), outliers=True)) == list(
        loaded.predict(paths, outliers=True)
    )


def test_a_path_that_is_no_image_has_its_own_answer(fitted_model, photos, tmp_path):
    (tmp_path / "text.jpg").write_text("text")
    good = str(photos / "red" / "red00.png")
    asked = [str(tmp_path / "nowhere.png"), good, str(photos), str(tmp_path / "text.jpg"), good]
    answers = list(Model.load(fitted_model).predict_stream(asked))
    assert [each.path for each in answers] == asked
    assert [each.error is None for each in answers] == [False, True, False, False, True]
    assert "No such file" in answers[0].error
    assert "directory" in answers[2].error


def test_below_the_wanted_confidence_there_is_no_label(fitted_model, photos):
    loaded = Model.load(fitted_model)
    plain = loaded.predict([photos])
    limit = sorted(max(each.probabilities.values()) for each in plain)[12]
    careful = loaded.predict([photos], min_confidence=limit)
    assert sum(each.abstained for each in careful) == 12
    for one, other in zip(plain, careful, strict=True):
        assert other.probabilities == one.probabilities
        assert other.label == (one.label if max(one.probabilities.values()) >= limit else None)


def test_a_wrong_confidence_and_a_model_that_tells_no_outliers(fitted_model, photos):
    loaded = Model.load(fitted_model)
    with pytest.raises(ParameterError, match="0 to 1"):
        loaded.predict([photos], min_confidence=1.5)
    plain = Model(loaded.head, loaded.spec, loaded.embedding, loaded.info)
    with pytest.raises(ModelError, match="fit it again"):
        plain.predict([photos], outliers=True)
