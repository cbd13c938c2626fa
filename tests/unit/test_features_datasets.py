"""Datasets of arrays, and models that label features."""

import numpy as np
import pandas
import pytest
from sklearn.linear_model import LogisticRegression

from tests.unit.data import extract_pixels
from tests.unit.features_files import values
from tlfeatures import (
    Dataset,
    Model,
    audit,
    benchmark,
    cross_validate,
    embedded_ids,
    export_features,
    fit,
    import_features,
    learning_curve,
    load_dataset,
    make_head,
    report,
)
from tlfeatures.errors import ModelError, ParameterError, SpecError

X = values(40)
Y = ["first"] * 20 + ["second"] * 20


@pytest.mark.slow
def test_all_of_the_fast_half_takes_a_dataset_of_arrays(tmp_path, caplog):
    data = Dataset.from_arrays(X, Y, groups=np.arange(40) // 2)
    score = cross_validate("centroid", data).scores["accuracy"]["score"]
    assert score > 0.8
    benchmark(data, ["centroid", "dummy"], out=tmp_path / "results")
    page = report(tmp_path / "results", tmp_path / "r.html")
    assert page.bytes
    assert "the benchmark was run on arrays in Python" in caplog.text
    assert "features (imported)" in (tmp_path / "r.html").read_text()
    assert audit(data).images == 40
    assert learning_curve(data, "centroid").images == 40
    fit(data, "centroid", model=tmp_path / "m.model")
    model = Model.load(tmp_path / "m.model")
    predicted = model.predict_features(X)
    assert predicted.paths[:2] == ["00", "01"]
    assert np.mean(predicted.labels == np.array(Y)) > 0.9
    card = (tmp_path / "m.model.md").read_text()
    assert "imported" in card
    for invented in ("pixels (height x width)", "bilinear", "float32", "0 x 0"):
        assert invented not in card


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([0, 1] * 20), ["0", "1"]),
        (np.array([True, False] * 20), ["False", "True"]),
        (pandas.Series(["a", "b"] * 20), ["a", "b"]),
        (pandas.Categorical(["a", "b"] * 20), ["a", "b"]),
        (np.array([0.0, 1.0] * 20), ["0", "1"]),
        (["a", 3] * 20, ["3", "a"]),
    ],
)
def test_labels_of_any_kind_are_texts(y, classes):
    assert Dataset.from_arrays(X, y).classes == classes


def test_a_data_frame_gives_ids():
    frame = pandas.DataFrame(X, index=[f"img{row}" for row in range(40)])
    data = Dataset.from_arrays(frame, pandas.Series(Y, index=frame.index))
    assert data.ids.tolist() == list(frame.index)
    np.testing.assert_array_equal(data.X, X)
    with pytest.raises(ParameterError, match="indexes of X and y differ"):
        Dataset.from_arrays(frame, pandas.Series(Y, index=frame.index[::-1]))


def test_rows_that_are_equal_are_copies():
    twice = np.concatenate([X, X[:2]])
    data = Dataset.from_arrays(twice, [*Y, *Y[:2]])
    assert data.copies.tolist() == [[0, 40], [1, 41]]
    other = Dataset.from_arrays(twice, [*Y, *Y[:2]], digests=[f"{row:064x}" for row in range(42)])
    assert not len(other.copies)


WRONG = {
    "labels": ({"y": Y[:-1]}, "X has 40 rows, but y has 39 values"),
    "ids": ({"ids": ["a"] * 40}, "has 39 ids twice, such as 'a'"),
    "groups": ({"groups": [1]}, "X has 40 rows, but groups has 1 values"),
    "labels in lists": ({"y": [[label] for label in Y]}, r"y has \['.*'\] in row 0"),
    "missing label": ({"y": [None, *Y[1:]]}, "y has no value in row 0"),
    "split": ({"split": ["x"] * 40}, "split has 'x'; expected train, val or test"),
    "digests": ({"digests": ["0a"] * 40}, "expected a sha256 for each of 40 rows"),
    "one dimension": ({"X": X[0]}, r"X has the shape \(6,\); expected \(images, columns\)"),
    "NaN": ({"X": np.where(np.arange(240).reshape(40, 6) == 19, np.nan, X)}, "nan in row 3"),
    "too large": ({"X": X.astype(float) * 1e300}, "not finite in 40 rows"),
    "texts": ({"X": [["a"]] * 40}, "X has values that are no numbers"),
    "near_duplicates": ({"near_duplicates": 2}, "near_duplicates is 2; expected a similarity"),
    "embedding": ({"embedding": "a+b"}, "an embedding can't have the name"),
    "one-hot": ({"y": np.eye(40)}, r"y has the shape \(40, 40\)"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_a_value_error(what):
    arguments, message = WRONG[what]
    with pytest.raises(ValueError, match=message) as caught:
        Dataset.from_arrays(**({"X": X, "y": Y} | arguments))
    assert "\n" not in str(caught.value)


# ---- labelling features


def imported_model(folder, rows=X, **options):
    np.savez(folder / "train.npz", X=rows, y=np.array(Y))
    import_features(folder / "train.npz", folder / "train.h5", **options)
    fit(folder / "train.h5", "centroid", model=folder / "m.model", near_duplicates=None)
    return Model.load(folder / "m.model")


def new_features(folder, rows, name="new.npz", key="X"):
    np.savez(folder / name, **{key: rows, "ids": np.array([f"n{row}" for row in range(len(rows))])})
    return folder / name


def test_features_files_and_arrays_get_the_same_labels(tmp_path):
    model, rows = imported_model(tmp_path), values(30, seed=1)
    predicted = model.predict_features(new_features(tmp_path, rows), outliers=True)
    assert predicted.paths == [f"n{row}" for row in range(30)]
    again = model.predict_features(rows, predicted.paths, outliers=True)
    assert again == predicted
    import_features(tmp_path / "new.npz", tmp_path / "new.h5")
    by_id = dict(zip(predicted.paths, predicted.labels, strict=True))
    from_file = model.predict_features(tmp_path / "new.h5")
    assert dict(zip(from_file.paths, from_file.labels, strict=True)) == by_id
    assert from_file.paths == embedded_ids(tmp_path / "new.h5")


def test_features_of_another_width_or_name_are_refused(photos, tmp_path):
    model = imported_model(tmp_path, backbone_name="one")
    with pytest.raises(ModelError, match="X has 5 columns, but the model needs the 6 of features"):
        model.predict_features(X[:, :5])
    with pytest.raises(ModelError, match=r"new\.npz has 5 columns, but the model needs the 6"):
        model.predict_features(new_features(tmp_path, X[:, :5]))
    import_features(new_features(tmp_path, X[:, :5]), tmp_path / "a.h5", backbone_name="one")
    message = r"a\.h5 has 5 columns, but the model needs the 6 of features; give embeddings"
    with pytest.raises(ModelError, match=message):
        model.predict_features(tmp_path / "a.h5")
    labels = {f"n{row}": label for row, label in enumerate(Y)}
    with pytest.raises(ModelError, match=message):
        model.evaluate(tmp_path / "a.h5", labels=labels)
    with pytest.raises(ParameterError, match="not finite"):
        model.predict_features(np.full((1, 6), np.nan))
    import_features(tmp_path / "train.npz", tmp_path / "b.h5", backbone_name="two")
    with pytest.raises(SpecError, match="with backbone two, but the model expects one"):
        model.predict_features(tmp_path / "b.h5")
    import_features(tmp_path / "train.npz", tmp_path / "c.h5", embedding="other")
    with pytest.raises(
        ModelError, match="embedding other, but the model needs the embedding features"
    ):
        model.predict_features(tmp_path / "c.h5")
    extract_pixels(photos, tmp_path / "p.h5")
    with pytest.raises(SpecError, match="with backbone pixels, but the model expects imported"):
        model.predict_features(tmp_path / "p.h5")


def test_a_model_of_images_labels_their_exported_embeddings(photos, tmp_path):
    extract_pixels(photos, tmp_path / "p.h5", layers=["grid4", "grid8"])
    for embedding in ("grid8.avg", "grid4.avg+grid8.avg"):
        data = load_dataset(tmp_path / "p.h5", embedding)
        model = Model.fit(LogisticRegression(), data)
        expected = model.predict_proba(data.X)
        export_features(tmp_path / "p.h5", tmp_path / "p.npz")
        for source in (tmp_path / "p.npz", tmp_path / "p.h5"):
            predicted = model.predict_features(source)
            np.testing.assert_array_equal(predicted.probabilities, expected)
    width = data.X.shape[1] // 2
    unnamed = new_features(tmp_path, data.X[:, :width])
    with pytest.raises(ModelError, match=r"but the model needs the embedding grid4\.avg"):
        model.predict_features(unnamed)


def test_images_are_refused_by_a_model_of_imported_embeddings(photos, tmp_path):
    model = imported_model(tmp_path)
    for call in (lambda: model.predict(photos), lambda: model.evaluate(photos)):
        with pytest.raises(ModelError, match="were computed by another program and imported"):
            call()


def test_imported_embeddings_are_joined_with_others(photos, tmp_path):
    extract_pixels(photos, tmp_path / "p.h5")
    ids = embedded_ids(tmp_path / "p.h5")
    np.savez(tmp_path / "i.npz", X=values(24), ids=np.array(ids))
    import_features(tmp_path / "i.npz", tmp_path / "i.h5")
    files = [tmp_path / "i.h5", tmp_path / "p.h5"]
    data = load_dataset(files, "imported:features+pixels:grid8.avg")
    assert data.embedding == "imported:features+pixels:grid8.avg"
    np.testing.assert_array_equal(data.digests, load_dataset(files[1]).digests)
    model = Model.fit(make_head("centroid"), data)
    model.save(tmp_path / "m.model")
    again = Model.load(tmp_path / "m.model").predict_features(data.X)
    assert np.mean(again.labels == data.y) > 0.9
    results = benchmark(files, ["centroid"])
    assert len(results.entries) == 2


@pytest.mark.parametrize("argument", ["y", "groups", "split"])
def test_series_in_another_order_than_the_ids_are_refused(argument):
    """Values are matched by their places, and the index says that those are others."""
    ids = [f"img{row}" for row in range(40)]
    own = {"y": pandas.Series(Y, index=ids), "groups": None, "split": None}
    own[argument] = pandas.Series((["train", "test"] * 20), index=ids)
    assert len(Dataset.from_arrays(X, ids=ids, **own)) == 40
    own[argument] = own[argument][::-1]
    with pytest.raises(ParameterError, match=f"{argument}.*order"):
        Dataset.from_arrays(X, ids=ids, **own)
    if argument != "y":
        with pytest.raises(ParameterError, match=f"indexes of X and {argument} differ"):
            Dataset.from_arrays(pandas.DataFrame(X, index=ids), **own)


def test_columns_with_names_in_another_order_are_refused(tmp_path):
    """Else the model would take a length for a mass, and nobody would know."""
    frame = pandas.DataFrame({"id": [f"img{row}" for row in range(40)], "label": Y})
    frame = frame.assign(length=X[:, 0], mass=X[:, 1])
    frame.to_csv(tmp_path / "a.csv", index=False)
    import_features(tmp_path / "a.csv", tmp_path / "a.h5")
    model = Model.fit(make_head("centroid"), load_dataset(tmp_path / "a.h5"))
    assert len(model.predict_features(tmp_path / "a.csv")) == 40
    other = frame[["id", "label", "mass", "length"]]
    other.to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ModelError, match="has the columns mass, length, but the model needs len"):
        model.predict_features(tmp_path / "b.csv")
    import_features(tmp_path / "b.csv", tmp_path / "b.h5")
    with pytest.raises(SpecError, match="columns"):
        model.predict_features(tmp_path / "b.h5")


def test_labels_that_are_equal_objects_keep_their_names():
    data = Dataset.from_arrays(values(4), [1, True, 1.0, "1"])
    assert data.y.tolist() == ["1", "True", "1", "1"]


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((2, 3), 1j),
        np.array([["2026-01-01"] * 3] * 2, "M8[D]"),
        np.ma.masked_less(np.arange(6.0).reshape(2, 3), 1),
    ],
)
def test_values_of_which_a_part_would_be_lost_are_refused(wrong):
    with pytest.raises(ParameterError, match=r"X has (masked values|values that are no numbers)"):
        Dataset.from_arrays(wrong, ["a", "b"])
