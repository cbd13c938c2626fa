"""Embeddings of several files side by side, and benchmarks of several backbones."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.commands.joined import check_refusals, of_length_1, table_of
from tests.onnx_networks import SIZE, declare
from tests.unit.data import run_benchmark
from tlfeatures import (
    Model,
    audit,
    cross_validate,
    describe,
    export,
    extract,
    fit,
    learning_curve,
    load_benchmark,
    load_dataset,
    make_head,
    report,
)
from tlfeatures.cli import main
from tlfeatures.errors import DatasetError, FormatError, ModelError, ParameterError, SpecError
from tlfeatures.features.combined import join
from tlfeatures.features.engines.choose import ENGINES
from tlfeatures.features.engines.speeds import Speed, keep, workload_of
from tlfeatures.features.images import read_ahead
from tlfeatures.models import embedding_run
from tlfeatures.models.evaluate import evaluate
from tlfeatures.models.model_file import model_bytes
from tlfeatures.reports.benchmark_analyses import Analyses

PARTS = "pixels.h5:grid8.avg+net.h5:features"
NAME = "pixels:grid8.avg+small:features.none"
FILES = ["pixels.h5", "net.h5"]


@pytest.fixture(scope="module")
def made(_photos, tmp_path_factory):
    """Make a folder with embeddings of the images by pixels and by a small network."""
    made = tmp_path_factory.mktemp("backbones")
    extract(_photos, made / "pixels.h5", backbone="pixels", size=16, pools=["avg", "flatten"])
    extract(_photos, made / "net.h5", backbone=str(declare(made)), size=SIZE)
    return made


@pytest.fixture
def folder(made, photos, tmp_path, monkeypatch):
    """Go to a folder with `photos` and their two embeddings files."""
    for name in FILES:
        shutil.copy(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(folder):
    return Model.fit(make_head("logreg"), load_dataset(FILES, PARTS), name="logreg")


def run(*arguments):
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


# ---- the rows


def test_each_file_gives_its_part_at_length_1(folder):
    data = load_dataset(FILES, PARTS)
    assert (data.embedding, data.X.dtype, data.X.shape) == (NAME, np.float32, (24, 83))
    left, right = load_dataset("pixels.h5", "grid8.avg"), load_dataset("net.h5")
    np.testing.assert_allclose(data.X[:, :3], of_length_1(left.X), rtol=1e-6)
    np.testing.assert_allclose(data.X[:, 3:], of_length_1(right.X), rtol=1e-6)
    assert [part.spec for part in data.parts] == [left.spec, right.spec]
    assert data.spec is None
    assert data.ids.tolist() == left.ids.tolist()


def test_several_parts_of_a_file_are_joined_as_in_one_file(folder):
    name = "pixels:grid8.flatten+small:features.none+pixels:grid8.avg"
    data = load_dataset(FILES, name)
    assert data.embedding == "pixels:grid8.flatten+pixels:grid8.avg+small:features.none"
    parts = {
        "a": load_dataset("pixels.h5", "grid8.flatten").X,
        "b": load_dataset("pixels.h5", "grid8.avg").X,
        "c": load_dataset("net.h5").X,
    }
    np.testing.assert_array_equal(data.X, join(parts, "a+b+c"))


def test_a_file_is_named_by_its_path_its_name_or_its_backbone(folder):
    expected = load_dataset(FILES, PARTS)
    paths = [str(folder / name) for name in FILES]
    for name in (
        f"{paths[0]}:grid8.avg+{paths[1]}:features.none",
        "pixels.h5:grid8.avg+small:features.none",
        NAME,
    ):
        data = load_dataset(paths, name)
        assert data.embedding == NAME
        np.testing.assert_array_equal(data.X, expected.X)


def test_a_path_may_have_a_plus_and_a_colon(folder):
    strange = folder / "a+b:c.h5"
    shutil.copy("pixels.h5", strange)
    data = load_dataset([strange, "net.h5"], f"{strange}:grid8.avg+net.h5:features.none")
    assert data.embedding == NAME


def test_two_files_of_one_backbone_are_named_by_their_files(folder, photos):
    extract(photos, "large.h5", backbone="pixels", size=24)
    data = load_dataset(["pixels.h5", "large.h5"], "pixels.h5:grid8.avg+large.h5:grid8.avg")
    assert data.embedding == "pixels.h5:grid8.avg+large.h5:grid8.avg"
    assert data.X.shape == (24, 6)


def test_only_common_images_are_kept_and_the_others_are_counted(folder, photos, caplog):
    (photos / "red" / "red03.png").unlink()
    extract(photos, "net.h5")
    data = load_dataset(FILES, PARTS)
    assert len(data.ids) == 23
    assert "only 23 of 24 images are in every file" in caplog.text


def test_another_image_under_the_same_id_is_refused(folder, photos):
    Image.new("RGB", (20, 16), "green").save(photos / "red" / "red03.png")
    extract(photos, "net.h5")
    with pytest.raises(DatasetError, match=r"different images under the same id .* red/red03\.png"):
        load_dataset(FILES, PARTS)


def test_a_benchmark_of_other_images_under_the_same_id_says_so(folder, photos, caplog):
    run_benchmark(FILES, heads="dummy", cv=3, embeddings="all")
    assert "different images" not in caplog.text
    Image.new("RGB", (20, 16), "green").save(photos / "red" / "red03.png")
    extract(photos, "net.h5")
    run_benchmark(FILES, heads="dummy", cv=3, embeddings="all")
    said = r"pixels\.h5 and net\.h5 have different images under the same id in 1 case, such as red"
    assert re.search(said, caplog.text)


def test_copies_of_all_files_are_united(folder, photos):
    with Image.open(photos / "red" / "red00.png") as image:
        image.resize((40, 32)).save(photos / "red" / "red00-large.png")
    shutil.copy(photos / "blue" / "blue00.png", photos / "blue" / "same.png")
    for name in FILES:
        extract(photos, name)
    alone = load_dataset("pixels.h5", "grid8.avg"), load_dataset("net.h5")
    copies = [set(map(tuple, data.ids[data.copies].tolist())) for data in alone]
    assert copies[0] != copies[1]  # this network has no limit: only the equal files are copies
    joined = load_dataset(FILES, PARTS)
    assert set(map(tuple, joined.ids[joined.copies].tolist())) == copies[0] | copies[1]


def test_variants_are_joined_if_they_are_the_same_and_refused_if_not(folder, photos):
    settings = {"backbone": "pixels", "pools": ["avg"]}
    extract(photos, "a.h5", size=16, augment=2, **settings)
    extract(photos, "b.h5", size=24, augment=2, **settings)
    extract(photos, "c.h5", size=24, augment=1, **settings)
    name = "a.h5:grid8.avg+b.h5:grid8.avg"
    data = load_dataset(["a.h5", "b.h5"], name)
    parts = {file: load_dataset(f"{file}.h5").variants for file in "ab"}
    np.testing.assert_array_equal(data.variants, join(parts, "a+b"))
    for other in ("net.h5:features", "c.h5:grid8.avg"):
        files = ["a.h5", other.partition(":")[0]]
        with pytest.raises(ParameterError, match=r"different variants .*--variants 0"):
            load_dataset(files, f"a.h5:grid8.avg+{other}")
        plain = load_dataset(files, f"a.h5:grid8.avg+{other}", variants=0)
        assert plain.variants is None
    once = load_dataset(["a.h5", "c.h5"], "a.h5:grid8.avg+c.h5:grid8.avg", variants=1)
    assert once.variants.shape == (24, 1, 6)


# ---- what it can't be

WRONG = {
    "pixels.h5:grid9.avg+net.h5:features": "no embedding of .*pixels.h5 'grid9.avg'",
    "pixels.h5:grid8.avg+other.h5:features": "'other.h5' is none of the files",
    "pixels.h5:grid8.avg+features": "'features' has no file",
    "grid8.avg+features": "file of each part",
    "pixels.h5:grid8.avg+pixels.h5:grid8.avg": "several different ones",
    "pixels.h5:grid8.avg+net.h5:": "expected LAYER.POOLING after net.h5:",
    "pixels.h5:grid8.avg+": "several different ones",
}


@pytest.mark.parametrize("name", WRONG)
def test_names_that_are_wrong_are_one_line(folder, name):
    works = (
        lambda: load_dataset(FILES, name),
        lambda: fit(FILES, embedding=name),
        lambda: run_benchmark(FILES, heads="dummy", embeddings=["grid8.avg", name]),
    )
    check_refusals(works, [[each, *FILES, "--embedding", name] for each in ("fit", "benchmark")])
    with pytest.raises(ParameterError, match=WRONG[name]):
        run_benchmark(FILES, heads="dummy", embeddings=name)


def test_files_without_a_part_and_embeddings_without_files_are_refused(folder):
    with pytest.raises(ParameterError, match="the embedding must name the file of each part"):
        fit(FILES)
    with pytest.raises(ParameterError, match=r"doesn't use net\.h5"):
        fit(FILES, embedding="pixels.h5:grid8.avg")
    with pytest.raises(ParameterError, match="there is no file"):
        load_dataset([])


def test_two_files_of_the_same_name_need_their_paths(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        shutil.copy("pixels.h5" if name == "one" else "net.h5", folder / name / "x.h5")
    files = ["one/x.h5", "two/x.h5"]
    with pytest.raises(ParameterError, match=r"'x\.h5' is the name of several files: one/x\.h5"):
        load_dataset(files, "x.h5:grid8.avg+x.h5:features")
    assert load_dataset(files, "one/x.h5:grid8.avg+two/x.h5:features").embedding == NAME


# ---- benchmarks


@pytest.fixture
def benched(folder):
    wanted = ["grid8.avg", "features", PARTS]
    return run_benchmark(FILES, heads=["logreg", "dummy"], embeddings=wanted, cv=3, out="out")


def test_a_benchmark_ranks_it_with_its_parts(benched, no_fits):
    names = ["pixels:grid8.avg", "small:features.none", NAME]
    assert {rank.embedding for rank in benched.ranking} == set(names)
    alone = cross_validate(make_head("logreg"), load_dataset(FILES, PARTS), cv=3)
    (entry,) = (
        entry
        for entry in benched.entries
        if (entry.facts["embedding"], entry.facts["head"]) == (NAME, "logreg")
    )
    np.testing.assert_array_equal(entry.probabilities, alone.probabilities)
    assert entry.facts["columns"] == 83
    assert load_benchmark("out").comparison == benched.comparison
    no_fits()
    twice = [PARTS, NAME, "pixels.h5:grid8.avg"]  # the first two are one embedding
    shown = []
    again = run_benchmark(
        FILES,
        heads="logreg",
        embeddings=twice,
        cv=3,
        out="out",
        progress=lambda done, total: shown.append(total),
    )
    assert set(shown) == {7}  # folds of two embeddings, and the ranking
    assert again.computed == 0
    assert len(again.entries) == 6


def test_the_verdict_compares_backbones(benched):
    backbones = {backbone.name: backbone for backbone in benched.comparison.backbones}
    assert set(backbones) == {"pixels", "small", "pixels + small"}
    for backbone in backbones.values():
        of_backbone = [rank for rank in benched.ranking if rank.embedding in _names(backbone.name)]
        assert benched.ranking[backbone.place] == of_backbone[0]
    assert [backbones[name].columns for name in ("pixels", "small")] == [3, 80]
    first = benched.comparison.backbones[0]
    assert any(line.startswith(f"Best backbone: {first.name}, with ") for line in benched.verdict)
    for name in set(backbones) - {first.name}:
        assert any(line.startswith(f"{name}, with ") for line in benched.verdict)


def _names(backbone):
    return {"pixels": ["pixels:grid8.avg"], "small": ["small:features.none"]}.get(backbone, [NAME])


def test_predictions_name_the_backbone_of_an_embedding(benched):
    columns = load_benchmark("out").predictions_table()
    names = {"pixels:grid8.avg", "small:features.none", NAME}
    assert set(columns["embedding"]) == names
    run("predictions", "out", "-o", "predictions.csv")
    with Path("predictions.csv").open(newline="") as file:
        assert {row["embedding"] for row in csv.DictReader(file)} == names


def test_one_backbone_in_two_files_is_not_compared_with_itself(folder, photos):
    extract(photos, "max.h5", backbone="pixels", size=16, pools=["max"])
    result = run_benchmark(["pixels.h5", "max.h5"], heads="dummy", cv=3)
    assert result.comparison.backbones == []
    assert {rank.embedding for rank in result.ranking} == {
        "grid8.avg",
        "grid8.flatten",
        "grid8.max",
    }
    assert not any("backbone" in line.lower() for line in result.verdict)


@pytest.mark.slow
def test_pages_and_analyses_load_it_again(benched, folder):
    report("out", "page.html", embedding=NAME, n_jobs=1)
    html = (folder / "page.html").read_text()
    for part in ("backbones", "more-images", "map", "audit"):
        assert f'<section id="{part}"' in html
    for text in ("Which backbone pays?", "joined with features.none of small at 12 × 16"):
        assert text in html
    found = load_benchmark("out")
    rank = next(rank for rank in found.ranking if rank.embedding == NAME)
    loaded = Analyses(found).dataset(rank)
    np.testing.assert_array_equal(loaded.X, load_dataset(FILES, PARTS).X)
    assert loaded.embedding == NAME
    with pytest.raises(ParameterError, match=r"'features\.max'"):
        report("out", "page.html", embedding="features.max")


def test_a_page_of_one_backbone_has_no_comparison_of_backbones(folder):
    run_benchmark("pixels.h5", heads="dummy", cv=3, out="one")
    report("one", "one.html", without=["images", "map", "audit", "learning-curve"])
    assert "Which backbone pays?" not in (folder / "one.html").read_text()


@pytest.mark.slow
def test_the_speed_of_a_backbone_is_shown_if_it_was_measured(folder):
    spec = load_dataset("net.h5").spec
    other = next(name for name in ENGINES if name != spec.engine)
    measured = {spec.engine: Speed(1234.5, 1.0), other: Speed(9.0, 1.0)}
    ways = {(engine, spec.precision): speed for engine, speed in measured.items()}
    workload = workload_of(spec, ("features.none",))
    keep(workload, ways, ENGINES)
    another = {(spec.engine, spec.precision): Speed(7.0, 1.0)}
    keep(replace(workload, weights="00"), another, ENGINES)  # another network of this name
    result = run_benchmark(FILES, heads="centroid", embeddings=["grid8.avg", "features"], out="out")
    speeds = {each.name: each.images_per_second for each in result.comparison.backbones}
    assert speeds == {"pixels": None, "small": 1234.5}
    assert "(80 numbers per image, 1,234.5 images/s)" in " ".join(result.verdict)
    report("out", "page.html", without=["images", "map", "audit", "learning-curve"])
    assert '<td data-value="1234.5">1,234.5</td>' in (folder / "page.html").read_text()
    assert load_benchmark("out").comparison == result.comparison


def test_a_file_that_has_changed_is_noticed(benched, photos):
    rank = next(rank for rank in benched.ranking if rank.embedding == NAME)
    Image.new("RGB", (20, 16), "green").save(photos / "red" / "red03.png")
    for name in FILES:
        extract(photos, name)
    with pytest.raises(DatasetError, match=r"pixels\.h5 \+ net\.h5 has changed"):
        Analyses(load_benchmark("out")).dataset(rank)


def test_a_results_file_without_a_backbone_is_damaged(benched, folder):
    results = folder / "out" / "results.json"
    facts = json.loads(results.read_text())
    del facts["files"]["pixels.h5 + net.h5"]["joined"]["small"]
    results.write_text(json.dumps(facts))
    with pytest.raises(FormatError, match="damaged: it has no small"):
        load_benchmark("out")
    facts["files"]["pixels.h5 + net.h5"]["joined"] = 3
    results.write_text(json.dumps(facts))
    with pytest.raises(FormatError, match="damaged: its joined is '3'"):
        load_benchmark("out")


def test_curve_and_audit_take_it(folder):
    curve = learning_curve(FILES, embedding=PARTS, sizes=[5], cv=3, n_jobs=1)
    assert curve.embedding == NAME
    found = audit(FILES, embedding=PARTS, cv=3, n_jobs=1)
    assert (found.embedding, found.file) == (NAME, "pixels.h5 + net.h5")
    with pytest.raises(ParameterError, match="near_duplicates can't be changed"):
        audit(load_dataset(FILES, PARTS), near_duplicates=0.9)


@pytest.mark.slow
def test_the_commands(folder, photos):
    text = run("fit", *FILES, "--embedding", PARTS, "--cv", 3, "-o", "m.model")
    assert f"{NAME} of pixels.h5 + net.h5" in text
    lines = [json.loads(line) for line in run("predict", "m.model", photos, "--json").splitlines()]
    assert len(lines) == 24
    text = run("benchmark", *FILES, "--heads", "logreg", "--embedding", PARTS, "--cv", 3)
    assert NAME not in text.splitlines()[4]  # one embedding is named once
    assert run("audit", *FILES, "--embedding", NAME, "--cv", 3).startswith(NAME)
    assert NAME in run("learning-curve", *FILES, "--embedding", NAME, "--sizes", 5, "--cv", 3)
    info = run("info", "m.model")
    assert f"embedding: {NAME}" in info
    assert "spec of pixels:" in info
    assert "spec of small:" in info


# ---- models


def test_image_files_get_what_their_rows_in_the_files_get(model, photos, monkeypatch):
    monkeypatch.setattr(embedding_run, "_TOGETHER", 7)
    model.save("m.model")
    loaded, data = Model.load("m.model"), load_dataset(FILES, PARTS)
    assert (loaded.backbones, loaded.embedding) == (model.backbones, NAME)
    paths = [str(photos / id_) for id_ in data.ids]
    expected = model.predict_proba(data.X)
    for predictions in (
        loaded.predict(photos, outliers=True),
        loaded.predict(paths, batch_size=5),
        loaded.predict_stream(iter(paths)),
    ):
        made = list(predictions)
        assert [each.path for each in made] == paths
        np.testing.assert_allclose(table_of(model, made), expected, rtol=1e-5)


def test_backbones_of_one_size_read_an_image_once(folder, photos, monkeypatch):
    extract(photos, "grid4.h5", backbone="pixels", size=16, layers="grid4")
    data = load_dataset(["pixels.h5", "grid4.h5"], "pixels.h5:grid8.avg+grid4.h5:grid4.avg")
    model = Model.fit(make_head("logreg"), data, name="logreg")
    opened, open_content = [], read_ahead.open_content

    def count(path):
        opened.append(str(path))
        return open_content(path)

    monkeypatch.setattr(read_ahead, "open_content", count)
    made = model.predict(photos)
    assert sorted(opened) == [each.path for each in made]
    np.testing.assert_allclose(table_of(model, made), model.predict_proba(data.X), rtol=1e-5)


def test_an_unreadable_image_keeps_its_place(model, photos, monkeypatch):
    monkeypatch.setattr(embedding_run, "_TOGETHER", 5)
    paths = sorted(photos.rglob("*.png"))
    for broken in (0, 4, 5, 23):
        paths[broken].write_bytes(b"no image")
    for path in paths[10:15]:  # all that are embedded together
        path.write_bytes(b"no image")
    made = model.predict(photos)
    assert [each.path for each in made] == list(map(str, paths))
    failed = [place for place, each in enumerate(made) if each.error]
    assert failed == [0, 4, 5, *range(10, 15), 23]


def test_a_folder_is_evaluated(folder, photos):
    labels = {id_: id_[:3] for id_ in load_dataset("pixels.h5", "grid8.avg").ids}
    old = dict(list(labels.items())[::2])
    fit(FILES, "logreg", embedding=PARTS, labels=old, near_duplicates=None, cv=3, model="m.model")
    shown = []
    found = evaluate("m.model", photos, labels=labels, progress=lambda *done: shown.append(done))
    assert (found.embedding, found.seen, found.tested) == (NAME, 12, 12)
    assert shown[-1] == (12, 12)
    assert shown == sorted(shown)
    data = load_dataset(FILES, PARTS, labels)
    rows = np.isin(data.ids, found.ids)
    expected = Model.load("m.model").predict_proba(data.X[rows])
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    with pytest.raises(SpecError, match="give the folder of images instead"):
        evaluate("m.model", "pixels.h5", labels=labels)


def test_card_and_description_have_both_backbones(model):
    model.save("m.model")
    facts = describe("m.model")
    assert facts["spec"] is None
    assert [part["spec"]["backbone"] for part in facts["joined"]] == ["pixels", "small"]
    card = Path("m.model.md").read_text()
    assert "The backbones pixels and small" in card
    for text in (
        "| backbone | pixels |",
        "| backbone | small |",
        "### small",
        "scaled to length 1",
    ):
        assert text in card


def test_what_a_model_of_several_backbones_can_not_do_is_one_line(model, folder, photos):
    with pytest.raises(ModelError, match=r"several backbones \(pixels, small\) and can't be exp"):
        export(model, "m.onnx")
    assert not (folder / "m.onnx").exists()
    with pytest.raises(ModelError, match="weights is one file"):
        model.predict(photos, weights="small.onnx")


@pytest.mark.parametrize("embedding", ["grid4.avg", "grid8.flatten", "grid8.max"])
def test_parts_of_other_columns_are_noticed(model, photos, embedding):
    first, second = model.joined
    broken = replace(model, joined=(replace(first, embedding=embedding), second))
    if embedding == "grid8.flatten":
        with pytest.raises(ModelError, match="damaged"):
            broken.predict(photos)
    broken.save("broken.model")
    with pytest.raises(FormatError, match="its backbones give the embedding"):
        Model.load("broken.model")


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.update(joined=facts["joined"][:1]),
        lambda facts: facts.update(joined=[facts["joined"][0]] * 2),
        lambda facts: facts.update(joined=[]),
        lambda facts: facts.update(joined={}),
        lambda facts: facts.pop("joined"),
        lambda facts: facts.update(spec=facts["joined"][0]["spec"]),
        lambda facts: facts["joined"][0].pop("name"),
        lambda facts: facts["joined"][0].update(spec={}),
        lambda facts: facts["joined"][1].update(embedding="features.none+"),
    ],
)
def test_crafted_backbones_are_refused(model, folder, change):
    model.save("m.model")
    facts = {key: value for key, value in describe("m.model").items() if key != "file"}
    change(facts)
    path = folder / "crafted.model"
    arrays = {"digests": model.digests, "sketch": model.outliers.sketch}
    path.write_bytes(model_bytes(model.head, facts, arrays, path))
    for read in (Model.load, describe):
        with pytest.raises(FormatError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
