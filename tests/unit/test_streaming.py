"""Answers as questions come in: batches without waiting, and the running command."""

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from tlfeatures import Model, extract, fit
from tlfeatures.errors import ModelError, ParameterError
from tlfeatures.features.batches import in_batches


@pytest.fixture
def model(photos, tmp_path):
    extract(photos, tmp_path / "photos.h5", backbone="pixels", size=16, pools=["flatten"])
    fit(tmp_path / "photos.h5", model=tmp_path / "m.model")
    return tmp_path / "m.model"


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


def test_a_batch_has_at_least_one_item():
    with pytest.raises(ParameterError, match="1 or more"):
        next(in_batches([1], 0))


def test_who_stops_taking_batches_ends_the_reader():
    before = set(threading.enumerate())
    batches = in_batches(itertools.count(), 4)
    next(batches)
    (reader,) = set(threading.enumerate()) - before
    batches.close()
    reader.join(10)
    assert not reader.is_alive()


def test_who_stops_taking_predictions_ends_the_reader(model, photos):
    loaded, path = Model.load(model), str(photos / "red" / "red00.png")
    before = set(threading.enumerate())
    answers = loaded.predict_stream(itertools.repeat(path), batch_size=2)
    assert next(answers).label == "red"
    assert set(threading.enumerate()) - before
    answers.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_what_is_no_stream_is_refused_at_the_call(model):
    loaded = Model.load(model)
    with pytest.raises(ParameterError, match="1 or more"):
        loaded.predict_stream([], batch_size=0)
    with pytest.raises(ParameterError, match=r"iterable of paths.*'one\.png'"):
        loaded.predict_stream("one.png")


def test_the_stream_gives_what_predict_gives(model, photos):
    loaded = Model.load(model)
    paths = [str(path) for path in sorted(photos.glob("*/*"))]
    assert list(loaded.predict_stream(iter(paths), outliers=True)) == list(
        loaded.predict(paths, outliers=True)
    )


def test_a_path_that_is_no_image_has_its_own_answer(model, photos, tmp_path):
    (tmp_path / "text.jpg").write_text("text")
    good = str(photos / "red" / "red00.png")
    asked = [str(tmp_path / "nowhere.png"), good, str(photos), str(tmp_path / "text.jpg"), good]
    answers = list(Model.load(model).predict_stream(asked))
    assert [each.path for each in answers] == asked
    assert [each.error is None for each in answers] == [False, True, False, False, True]
    assert "No such file" in answers[0].error
    assert "directory" in answers[2].error


def test_below_the_wanted_confidence_there_is_no_label(model, photos):
    loaded = Model.load(model)
    plain = list(loaded.predict([photos]))
    limit = sorted(max(each.probabilities.values()) for each in plain)[12]
    careful = list(loaded.predict([photos], min_confidence=limit))
    assert sum(each.abstained for each in careful) == 12
    for one, other in zip(plain, careful, strict=True):
        assert other.probabilities == one.probabilities
        assert other.label == (one.label if max(one.probabilities.values()) >= limit else None)


def test_a_wrong_confidence_and_a_model_that_tells_no_outliers(model, photos):
    loaded = Model.load(model)
    with pytest.raises(ParameterError, match="0 to 1"):
        loaded.predict([photos], min_confidence=1.5)
    plain = Model(loaded.head, loaded.spec, loaded.embedding, loaded.info)
    with pytest.raises(ModelError, match="fit it again"):
        plain.predict([photos], outliers=True)


COMMAND = (sys.executable, "-m", "tlfeatures", "predict")


@pytest.fixture
def start(model):
    """Start `predict MODEL -`, buffered as for any user; it does not outlive the test."""
    running = []
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}

    def run(*options):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [*COMMAND, str(model), "-", *options]
        running.append(subprocess.Popen(command, bufsize=0, env=buffered, **pipes))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def line_of(stream):
    """The next line, if it comes without more being asked."""
    assert select.select([stream], [], [], 60)[0], "no line came"
    return stream.readline().decode()


def test_a_running_command_answers_each_line_before_the_next_is_asked(start, photos):
    process = start("--json", "--outliers")
    for path in (photos / "red" / "red00.png", photos / "nowhere.png", photos / "blue/blue00.png"):
        process.stdin.write(f"{path}\n".encode())
        answer = json.loads(line_of(process.stdout))
        assert answer["path"] == str(path)
        if path.exists():
            assert answer["label"] == path.parent.name
            assert answer["outlier"] is False
        else:
            assert "No such file" in answer["error"]
    _, said = process.communicate()
    assert process.returncode == 3
    assert said.decode().startswith("can't read")


def test_a_table_begins_before_the_input_and_reasons_come_at_once(start, photos, tmp_path):
    process = start()
    assert line_of(process.stdout) == "path,label,blue,red\n"
    os.mkfifo(tmp_path / "pipe")
    good = photos / "red" / "red00.png"
    asked = [tmp_path / "nowhere.png", "a\0b.png", tmp_path / "pipe", photos, good]
    reasons = []
    for path in asked:
        process.stdin.write(f"{path}\n".encode())
        answer = line_of(process.stdout)
        if path == good:
            assert answer.startswith(f"{path},red,0.")
        else:
            assert answer == f"{path},,,\n"
            told = line_of(process.stderr)
            begins = f"can't read {path}: ".replace("\0", r"\x00")
            assert told.startswith(begins)
            reasons.append(told.strip().removeprefix(begins))
    assert len(set(reasons)) == 4
    assert "No such file" in reasons[0]
    assert "null" in reasons[1]
    assert "directory" in reasons[3]
    out, said = process.communicate()
    assert (process.returncode, out) == (3, b"")
    assert "can't read" not in said.decode()  # again


def test_a_table_has_a_row_for_each_line_and_ends_with_the_input(start, photos):
    process = start()
    lines = [str(photos / "red" / "red00.png"), "", "nowhere.png", str(photos / "blue/blue00.png")]
    out, _ = process.communicate("\r\n".join(lines).encode())
    rows = out.decode().splitlines()
    assert rows[0] == "path,label,blue,red"
    assert rows[1].startswith(f"{lines[0]},red,0.")
    assert rows[2] == "nowhere.png,,,"
    assert rows[3].startswith(f"{lines[3]},blue,0.")
    assert process.returncode == 3


def test_a_closed_input_is_an_empty_one(model):
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, str(model), "-"]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "path,label,blue,red\n", "")


def test_an_interrupted_stream_ends_without_a_traceback(start, photos):
    process = start()
    process.stdin.write(f"{photos / 'red' / 'red00.png'}\n".encode())
    assert line_of(process.stdout).startswith("path")
    assert ",red," in line_of(process.stdout)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 1
    said = process.stderr.read().decode()
    assert "Traceback" not in said
    assert "Fatal" not in said
