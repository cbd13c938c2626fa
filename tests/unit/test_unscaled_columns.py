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
    head = make_head(name, coordinates="passthrough", C=10.0)
    found = cross_validate(head, data, cv=2)
    assert np.isfinite(found.probabilities).all()
    if name == "linear-svm":
        said = [record.getMessage() for record in caplog.records]
        assert len([each for each in said if "Solver terminated early" in each]) == 1


def test_a_machine_on_ordinary_columns_needs_far_less():
    data = dataset(300, d=100, signal=1.0, classes="abc")
    for name in ("linear-svm", "rbf-svm"):
        fitted = make_head(name).fit(data.X, data.y)[-1].fitted_
        assert fitted.n_iter_.max() * 5 < fitted.max_iter
