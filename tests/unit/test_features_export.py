"""Embeddings go out to a features file and come back bit for bit."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.unit.data import extract_pixels
from tests.unit.features_files import IDS, LABELS, read_rows, values, write_table
from tlfeatures import export_features, import_features, load_dataset
from tlfeatures.errors import ParameterError
from tlfeatures.features.file.reader import read_header

FORMATS = ["npz", "csv", "parquet"]
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
SPECIAL = [
    "a,b",
    'say "x"',
    "line\nbreak",
    "cr\rhere",
    "\r\n",
    " blank ",
    "émigré",
    "🙂/\u2028",
    "0",
]


def round_trip(folder, ending, dtype=None):
    """Write a.h5 and read the result as b.h5."""
    export_features(folder / "a.h5", folder / f"out.{ending}")
    import_features(folder / f"out.{ending}", folder / "b.h5", dtype=dtype)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
@given(data=st.data())
@pytest.mark.slow
def test_rows_come_back_bit_for_bit(dtype, ending, data, tmp_path):
    ids = data.draw(
        st.lists(TEXTS | st.sampled_from(SPECIAL), min_size=1, max_size=12, unique=True)
    )
    X = data.draw(arrays(dtype.replace("float", "uint"), (len(ids), 3))).view(dtype)  # any bits
    X[~np.isfinite(X)] = -0.0
    for left in tmp_path.glob("[ab].h5"):
        left.unlink()
    np.savez(tmp_path / "a.npz", X=X, ids=np.array(ids))
    import_features(tmp_path / "a.npz", tmp_path / "a.h5")
    round_trip(tmp_path, ending, dtype)
    first, second = read_rows(tmp_path / "a.h5"), read_rows(tmp_path / "b.h5")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    assert second[0] == first[0] == [ids[row] for row in order]
    assert second[1].dtype == dtype
    assert second[1].tobytes() == first[1].tobytes() == X[order].tobytes()
    one, other = read_header(tmp_path / "a.h5"), read_header(tmp_path / "b.h5")
    assert one.digests == other.digests
    assert one.spec.imported.digests == other.spec.imported.digests


@pytest.mark.parametrize("ending", FORMATS)
def test_all_float32_exponents_come_back(ending, tmp_path):
    """Also numbers half way between two float16, the smallest and the largest."""
    bits = np.random.default_rng(0).integers(0, 2**32, 60_000, np.uint32)
    X = bits.view(np.float32)
    X = np.concatenate([X[np.isfinite(X)], [-0.0, 1e-45, 3.4028235e38]]).astype(np.float32)
    X = X[: len(X) // 10 * 10].reshape(-1, 10)
    np.savez(tmp_path / "a.npz", X=X)
    import_features(tmp_path / "a.npz", tmp_path / "a.h5")
    round_trip(tmp_path, ending)
    assert read_rows(tmp_path / "b.h5")[1].tobytes() == X.tobytes()


@pytest.mark.parametrize("ending", FORMATS)
def test_extracted_embeddings_with_labels_groups_splits_and_digests(ending, photos, tmp_path):
    extract_pixels(photos, tmp_path / "a.h5", layers=["grid4", "grid8"])
    names = ["grid4.avg", "grid8.avg"]
    table = [
        [id_, "odd" if row % 2 else "even", f"site {row // 4}", "test" if row % 3 else "train"]
        for row, id_ in enumerate(read_header(tmp_path / "a.h5").ids)
    ]
    labels = write_table(tmp_path / "l.csv", ["id", "label", "group", "split"], table)
    result = export_features(tmp_path / "a.h5", tmp_path / f"out.{ending}", labels=labels)
    assert (result.images, result.labelled) == (24, 24)
    assert list(result.embeddings) == names
    import_features(tmp_path / f"out.{ending}", tmp_path / "b.h5")
    for name in names:
        first, second = (read_rows(tmp_path / file, name) for file in ("a.h5", "b.h5"))
        assert second[0] == first[0]
        assert second[1].tobytes() == first[1].tobytes()
    assert read_header(tmp_path / "b.h5").digests == read_header(tmp_path / "a.h5").digests
    one = load_dataset(tmp_path / "a.h5", names[0], labels)
    other = load_dataset(tmp_path / "b.h5", names[0])
    for part in ("X", "y", "groups", "split", "ids", "digests"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def test_columns_are_named_by_embedding(photos, tmp_path):
    extract_pixels(photos, tmp_path / "a.h5", layers=["grid4", "mean"])
    export_features(tmp_path / "a.h5", tmp_path / "a.csv", embedding="mean.none")
    header = (tmp_path / "a.csv").read_text().splitlines()[0].split(",")
    assert header == ["id", "label", "sha256", "mean.none.0", "mean.none.1", "mean.none.2"]
    export_features(tmp_path / "a.h5", tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays_:
        assert {"ids", "labels", "sha256", "grid4.avg", "mean.none"} <= set(arrays_)
        assert arrays_["labels"].tolist() == ["blue"] * 12 + ["red"] * 12
    with pytest.raises(ParameterError, match=r"no embedding.*'grid5\.avg'"):
        export_features(tmp_path / "a.h5", tmp_path / "b.csv", embedding="grid5.avg")
    with pytest.raises(ParameterError, match=r"expected a name ending in \.npz, \.parquet, \.csv"):
        export_features(tmp_path / "a.h5", tmp_path / "b.xlsx")
    assert not list(tmp_path.glob("b.*"))


def test_rows_without_a_label_are_written(tmp_path):
    labels = ["", *LABELS[1:]]
    np.savez(tmp_path / "a.npz", X=values(), ids=np.array(IDS), y=np.array(labels))
    import_features(tmp_path / "a.npz", tmp_path / "a.h5")
    assert export_features(tmp_path / "a.h5", tmp_path / "out.csv").labelled == 19
    round_trip(tmp_path, "csv")
    assert load_dataset(tmp_path / "b.h5").ids.tolist() == IDS[1:]


@pytest.mark.parametrize("ending", FORMATS)
def test_a_sharded_file_is_written_as_one_in_itself(ending, photos, tmp_path, client):
    plain = tmp_path / "plain.h5"
    extract_pixels(photos, plain)
    extract_pixels(photos, tmp_path / "sharded.h5", cluster=client)
    assert read_header(tmp_path / "sharded.h5").shards is not None
    export_features(plain, tmp_path / f"one.{ending}")
    export_features(tmp_path / "sharded.h5", tmp_path / f"two.{ending}")
    import_features(tmp_path / f"one.{ending}", tmp_path / "one.h5")
    import_features(tmp_path / f"two.{ending}", tmp_path / "two.h5")
    one, two = (read_rows(tmp_path / name, "grid8.avg") for name in ("one.h5", "two.h5"))
    assert one[0] == two[0]
    assert one[1].tobytes() == two[1].tobytes()
