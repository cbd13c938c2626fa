"""Keys and attributes of files are deleted and changed in turn: a command works or says why."""

import copy
import json
import shutil

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.commands.pages import page_of
from tests.fakes import members_of, write_members
from tests.unit.data import run_benchmark
from tlfeatures import Model, load_dataset, make_head
from tlfeatures.cli import main
from tlfeatures.errors import FormatError, ModelError
from tlfeatures.models.model_file import read_model_info

WRONG = [None, True, 3, -1, 2.5, float("nan"), 10**30, "x", "", [], [1], [{}], {}, {"a": 1}]
GONE = object()
SETTINGS = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def fuzz(check, examples):
    """Give a test that draws so many examples."""
    return settings(SETTINGS, max_examples=examples)(given(st.data())(check))


def run(*arguments):
    """Run a command; what it raises is a fault, unless it ends the command."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1, 2)
    assert "Traceback" not in result.output
    if result.exit_code:
        assert len(result.stderr.strip().splitlines()) <= 3, result.stderr
    return result


def paths_of(value, path=()):
    """Give the path of every key below a value, and of the first item of each list."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from paths_of(inner, (*path, key))


def changed(value, path, new):
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if new is GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return value


# ---- model files


@pytest.fixture(scope="module")
def model(fitted_folder):
    """Facts of a model that `fit` saved, and its other members."""
    members = members_of(fitted_folder / "m.model")
    return json.loads(members.pop("tlfeatures.json")), members


def write(path, facts, members):
    write_members(path, {**members, "tlfeatures.json": json.dumps(facts)})
    return path


def check_fact_of_a_model(model, fitted_folder, tmp_path, data):
    facts, members = model
    path = data.draw(st.sampled_from(sorted(paths_of(facts), key=repr)))
    new = data.draw(st.sampled_from([GONE, *WRONG]))
    file = write(tmp_path / "x.model", changed(facts, path, new), members)
    if run("info", file).exit_code:
        with pytest.raises(FormatError, match=r"x\.model"):
            Model.load(file)
        return
    run("info", file, "--json")
    run("predict", file, fitted_folder / "photos" / "red" / "red00.png")
    run("evaluate", file, fitted_folder / "photos.h5")
    try:
        Model.load(file).save(tmp_path / "again.model")  # the card reads nearly all facts
    except (ModelError, FormatError):
        return
    assert read_model_info(tmp_path / "again.model")


test_every_fact_of_a_model_is_checked = fuzz(check_fact_of_a_model, 20)
test_every_fact_of_a_model_is_checked_often = pytest.mark.long(fuzz(check_fact_of_a_model, 500))


def test_facts_that_could_not_be_read_are_not_written(flatten_file, tmp_path):
    data = load_dataset(flatten_file)
    for facts, name in (({"scores": {"accuracy": 1.0}}, "scores"), ({"folds": "five"}, "folds")):
        made = Model.fit(make_head("logreg"), data, facts=facts)
        with pytest.raises(ModelError, match=f"can't be saved: {name}"):
            made.save(tmp_path / "m.model")
    made = Model.fit(make_head("logreg"), data, facts={"note": {1, 2}})
    with pytest.raises(ModelError, match="not JSON data"):
        made.save(tmp_path / "m.model")
    assert not list(tmp_path.glob("m.model*"))


def test_a_class_called_mean_is_shown(flatten_file, tmp_path):
    facts = {"params": {"class_weight": {"mean": 2.0, "std": 1.0}}}
    Model.fit(make_head("logreg"), load_dataset(flatten_file), facts=facts).save(tmp_path / "m")
    assert "mean 2.0" in run("info", tmp_path / "m").stdout


@pytest.mark.parametrize(
    ("key", "value", "said", "remedy"),
    [
        ("backbone", "later-net", "no backbone later-net", "use a newer version"),
        (
            *("embedding", "block9_conv1.avg", "needs the embedding 'block9_conv1.avg' of pixels"),
            "the version that wrote the model",
        ),
    ],
)
def test_an_intact_model_of_another_backbone_is_not_called_damaged(
    model, fitted_folder, tmp_path, key, value, said, remedy
):
    facts, members = model
    path = ("spec", "backbone") if key == "backbone" else (key,)
    file = write(tmp_path / "x.model", changed(facts, path, value), members)
    new = tmp_path / "new"
    shutil.copytree(fitted_folder / "photos", new)
    for image in new.glob("*/*.png"):
        image.write_bytes(image.read_bytes() + b"\0")  # other bytes, so not seen
    for command in (
        ("predict", file, fitted_folder / "photos"),
        ("evaluate", file, new),
        ("export", file, "-o", tmp_path / "x.onnx"),
    ):
        result = run(*command)
        assert result.exit_code == 1
        assert said in result.stderr
        assert remedy in result.stderr
        assert "damaged" not in result.stderr
    shown = run("info", file)
    assert shown.exit_code == 0
    if key == "backbone":
        assert "no backbone later-net" in shown.stdout


# ---- embeddings files


@pytest.fixture(scope="module")
def attributes(fitted_folder):
    with h5py.File(fitted_folder / "photos.h5") as file:
        return {name: json.loads(file.attrs[name]) for name in ("spec", "provenance")}


def rewrite(file, **attributes):
    with h5py.File(file, "r+") as opened:
        for name, value in attributes.items():
            del opened.attrs[name]
            if value is not GONE:
                opened.attrs[name] = value


def check_key_of_an_embeddings_file(attributes, fitted_folder, tmp_path, data):
    path = data.draw(st.sampled_from(sorted(paths_of(attributes), key=repr)))
    new = data.draw(st.sampled_from([GONE, *WRONG]))
    made = changed(attributes, path, new)
    file = shutil.copy(fitted_folder / "photos.h5", tmp_path / "x.h5")
    rewrite(file, **{name: json.dumps(made[name]) if name in made else GONE for name in attributes})
    if run("info", file).exit_code:
        refused = run("fit", file, "--head", "dummy")
        assert refused.exit_code == 1
        assert "x.h5" in refused.stderr
        return
    run("info", file, "--json")
    run("verify", file)
    run("fit", file, "--head", "dummy", "--cv", 2)


test_every_key_of_an_embeddings_file_is_checked = fuzz(check_key_of_an_embeddings_file, 20)
test_every_key_of_an_embeddings_file_is_checked_often = pytest.mark.long(
    fuzz(check_key_of_an_embeddings_file, 500)
)


@pytest.mark.parametrize("name", ["format", "format_version", "spec", "provenance"])
@pytest.mark.parametrize("value", [GONE, 1, 2.5, "x", b"\xff\xfe", [1, 2], "[]", "[" * 10**5])
def test_every_attribute_of_an_embeddings_file_is_checked(flatten_file, name, value):
    rewrite(flatten_file, **{name: value})
    if name == "format_version" and value == 1:
        return
    for command in ("info", "fit", "verify"):
        result = run(command, flatten_file)
        assert result.exit_code == 1
        assert flatten_file.name in result.stderr


OTHERS_LEFT = [pytest.param(left, marks=pytest.mark.long) for left in (["commands"], ["source"])]


@pytest.mark.parametrize("left", [[], ["versions"], *OTHERS_LEFT])
@pytest.mark.slow
def test_a_report_of_a_file_that_says_little_of_where_it_comes_from(
    flatten_file, attributes, tmp_path, left
):
    """As files that other programs write in this format."""
    kept = {name: attributes["provenance"][name] for name in left}
    rewrite(flatten_file, provenance=json.dumps(kept))
    run_benchmark(flatten_file, heads=["logreg", "dummy"], cv=2, out=tmp_path / "out")
    _, html = page_of(tmp_path / "out")
    assert ("unknown versions" in html) == ("versions" not in left)
    facts = json.loads((tmp_path / "out" / "results.json").read_text())
    for about in facts["files"].values():
        about["provenance"] = kept  # as an earlier version wrote it
    (tmp_path / "out" / "results.json").write_text(json.dumps(facts))
    assert page_of(tmp_path / "out")[1] == html


def test_a_head_on_embeddings_of_an_unknown_backbone_is_fitted(
    flatten_file, fitted_folder, attributes, tmp_path
):
    rewrite(flatten_file, spec=json.dumps({**attributes["spec"], "backbone": "later-net"}))
    fitted = run("fit", flatten_file, "--cv", 2, "-o", tmp_path / "m.model")
    assert fitted.exit_code == 0, fitted.output
    assert "no backbone later-net" in run("info", flatten_file).stdout
    result = run("predict", tmp_path / "m.model", fitted_folder / "photos")
    assert "no backbone later-net" in result.stderr


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("done", np.ones((24, 3, 2), bool)),
        ("done", np.ones(24, np.uint8)),
        ("digest", np.zeros((24, 16), np.uint8)),
        ("digest", np.zeros(24, np.uint8)),
        ("ids", np.array([[b"a"]] * 24)),
        ("reason", np.array([[b""]] * 24)),
        ("reason", np.zeros(24)),
    ],
    ids=lambda each: each if isinstance(each, str) else f"{each.dtype} {each.shape}",
)
def test_a_dataset_of_another_shape_or_kind_is_one_line(flatten_file, name, values):
    with h5py.File(flatten_file, "r+") as opened:
        del opened[name]
        opened[name] = values
    for command in ("info", "fit", "verify", "audit"):
        result = CliRunner().invoke(main, [command, str(flatten_file)])
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        assert len(result.stderr.splitlines()) == 1
