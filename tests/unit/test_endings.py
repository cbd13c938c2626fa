"""A file never gets a name whose ending belongs to another kind of file."""

import pytest

from tlfeatures import Model, extract, fit, merge
from tlfeatures.errors import ParameterError

OPTIONS = {"backbone": "pixels", "size": 16}


@pytest.mark.parametrize("ending", ["csv", "CSV", "model", "onnx", "json", "png", "html", "txt"])
def test_embeddings_are_not_written_under_the_name_of_another_kind(photos, tmp_path, ending):
    target = tmp_path / f"labels.{ending}"
    with pytest.raises(ParameterError, match=rf"ends in \.{ending.lower()}.*labels\.h5"):
        extract(photos, target, **OPTIONS)
    assert list(tmp_path.iterdir()) == [photos]


@pytest.mark.parametrize("name", ["x.h5", "x.hdf5", "x.HDF", "x", "photos.2024", "run.v2"])
def test_other_names_of_an_embeddings_file_are_accepted(photos, tmp_path, name):
    assert extract(photos, tmp_path / name, **OPTIONS).computed == 24


def test_merge_refuses_such_a_name(flatten_file, tmp_path):
    with pytest.raises(ParameterError, match=r"ends in \.csv.*one\.h5"):
        merge(flatten_file, tmp_path / "one.csv")
    assert not (tmp_path / "one.csv").exists()


@pytest.mark.parametrize("ending", ["h5", "onnx", "csv", "jpg"])
def test_a_model_is_not_written_under_the_name_of_another_kind(
    flatten_file, fitted_model, tmp_path, ending, no_fits
):
    no_fits()  # it is refused before the work
    with pytest.raises(ParameterError, match=rf"ends in \.{ending}.*best\.model"):
        fit(flatten_file, model=tmp_path / f"best.{ending}")
    with pytest.raises(ParameterError, match=rf"ends in \.{ending}.*best\.model"):
        Model.load(fitted_model).save(tmp_path / f"best.{ending}")
    assert not list(tmp_path.glob("best.*"))


@pytest.mark.parametrize("name", ["best.model", "best", "best.tlf"])
def test_other_names_of_a_model_are_accepted(fitted_model, tmp_path, name):
    Model.load(fitted_model).save(tmp_path / name)
    assert Model.load(tmp_path / name).classes == ["blue", "red"]
