"""The backbone as a step of scikit-learn: images in, rows out."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from tlfeatures import Extractor
from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.batches import choose_batch_size


@pytest.fixture
def extractor():
    return Extractor("pixels", "grid4", "flatten", size=16)


def test_arrays_lists_and_paths(extractor, photos):
    paths = sorted(photos.glob("*/*.png"))[:3]
    expected = extractor.transform(paths)
    assert expected.shape == (3, 48)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(extractor.transform([str(path) for path in paths]), expected)
    np.testing.assert_array_equal(extractor.transform(np.array(paths, dtype=str)), expected)
    pixels = np.zeros((2, 40, 50, 3), np.uint8)
    assert extractor.transform(pixels).shape == extractor.transform(list(pixels)).shape == (2, 48)
    assert extractor.transform([np.zeros((9, 9), np.uint8)]).shape == (1, 48)
    assert extractor.transform([]).shape == (0, 48)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("x.jpg", "expected a sequence of paths or images, .* got"),
        (np.zeros((40, 50, 3), np.uint8), r"got an array of shape \(40, 50, 3\); for one image"),
    ],
)
def test_what_is_no_sequence_of_images_is_refused(extractor, wrong, said):
    with pytest.raises(ParameterError, match=said):
        extractor.transform(wrong)


def test_an_unreadable_image_is_named(extractor, tmp_path):
    (tmp_path / "bad.jpg").write_text("text")
    with pytest.raises(ImageError, match=r"bad.jpg: not an image"):
        extractor.transform([tmp_path / "bad.jpg"])


def test_an_unreadable_image_of_a_series_is_named_by_its_position(extractor, photos, tmp_path):
    paths = [photos / "red" / "red00.png", tmp_path / "gone.jpg"]
    for index in ([1, 0], [7, 8]):
        with pytest.raises(ImageError, match=r"gone.jpg: No such file"):
            extractor.transform(pd.Series(paths, index))


@pytest.mark.parametrize("nothing", [{"layers": []}, {"pools": []}])
def test_no_embedding_at_all_is_refused(extractor, photos, nothing):
    extractor.set_params(**nothing)
    with pytest.raises(ParameterError, match="name no embedding"):
        extractor.transform([photos / "red" / "red00.png"])


def test_the_conventions_of_scikit_learn(extractor, tmp_path):
    assert clone(extractor).get_params() == extractor.get_params()
    assert extractor.set_params(pools="max").fit([]).get_feature_names_out().tolist() == [
        "grid4.max_0",
        "grid4.max_1",
        "grid4.max_2",
    ]
    joblib.dump(extractor, tmp_path / "x")
    assert joblib.load(tmp_path / "x").get_params() == extractor.get_params()
    with pytest.raises(ParameterError, match="there are: grid"):
        Extractor("pixels", "grid5").fit([])


def test_a_batch_is_no_larger_than_it_need_be():
    assert [choose_batch_size(n, 32) for n in (0, 1, 2, 3, 9, 32, 33)] == [1, 1, 2, 4, 16, 32, 32]
    assert choose_batch_size(50, 24) == choose_batch_size(50, np.int64(24)) == 24
    with pytest.raises(ParameterError, match="got '24'"):
        choose_batch_size(50, "24")


@pytest.mark.parametrize("wrong", [-1, 1.5, "a"])
def test_a_wrong_seed_of_a_network_of_keras_is_refused_before_keras_is_started(wrong):
    extractor = Extractor("keras-mobilenetv2", weights="random", random_state=wrong)
    with pytest.raises(ParameterError, match="random_state must be a whole number"):
        extractor.fit()
