import pytest

pytest.register_assert_rewrite("tests.fakes")  # so that its comparisons show the values
