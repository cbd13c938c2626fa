"""Support vector machines end, whatever the size of the values in the columns."""

import numpy as np
import pytest

from tests.unit.data import dataset
from tlfeatures import cross_validate, make_head


@pytest.mark.parametrize("name", ["linear-svm", "rbf-svm"])
@pytest.mark.parametrize("scale", [1e4, 1e6])
def test_a_machine_on_columns_of_large_values_ends_and_says_so(name, scale, caplog):
    data = dataset(60, d=12, signal=0.3)
    data.X[:] = data.X * scale
    found = cross_validate(make_head(name, C=10.0)[-1], data, cv=2)  # without its coordinates
    assert np.isfinite(found.probabilities).all()
    if name == "linear-svm":
        messages = [record.getMessage() for record in caplog.records]
        assert len([each for each in messages if "Solver terminated early" in each]) == 1


def test_a_machine_on_ordinary_columns_needs_far_less():
    data = dataset(300, d=100, signal=1.0, classes="abc")
    for name in ("linear-svm", "rbf-svm"):
        fitted = make_head(name).fit(data.X, data.y)[-1].fitted_
        assert fitted.n_iter_.max() * 5 < fitted.max_iter
