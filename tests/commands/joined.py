"""What the tests of joined embeddings share: of one file, and of several."""

import numpy as np
import pytest
from click.testing import CliRunner

from tlfeatures.cli import main
from tlfeatures.errors import ParameterError


def of_length_1(rows):
    return rows / np.linalg.norm(rows.astype(float), axis=-1, keepdims=True)


def table_of(model, predictions):
    return np.array([[each.probabilities[name] for name in model.classes] for each in predictions])


def check_refusals(works, commands, match=None):
    """Check that functions and commands refuse a parameter, each in one line."""
    for work in works:
        with pytest.raises(ParameterError, match=match) as caught:
            work()
        assert "\n" not in str(caught.value)
    for command in commands:
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2
        assert isinstance(result.exception, SystemExit)
