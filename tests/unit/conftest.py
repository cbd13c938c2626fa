"""Fixtures that many unit tests share."""

import pytest


@pytest.fixture
def file(tmp_path):
    """Where an embeddings file is to be written; a test module may put a written one in place."""
    return tmp_path / "photos.h5"
