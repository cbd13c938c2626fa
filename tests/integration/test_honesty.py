"""What the verdict promises of the best of many heads is true of real images."""

import pytest

from benchmarks.honesty.chosen import HEADS, compare, kept_draws
from tlfeatures import extract

DRAWS = 100


@pytest.mark.long
@pytest.mark.parametrize("images", ["intel", "hymenoptera"])
def test_the_corrected_accuracy_of_the_best_head_is_that_on_new_images(
    data, weights, tmp_path, images
):
    """60 images; `python -m benchmarks.honesty chosen` has more images and draws."""
    file = tmp_path / "x.h5"
    extract(data / images, file, weights=weights, pools="avg")
    for own, corrected in compare(list(kept_draws(file, 60, DRAWS)), HEADS):
        assert own.bias > 0.005
        assert abs(corrected.bias) < 0.01 + 2 * corrected.error
        assert corrected.coverage_of_truth >= 0.9
