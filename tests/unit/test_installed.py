"""Versions of packages, also of those that are distributed by another name."""

from importlib import metadata

from tlfeatures.installed import backend_of_keras, version_of


def test_a_package_is_found_by_both_of_its_names():
    assert version_of("pillow") == version_of("PIL") == metadata.version("pillow")


def test_a_package_that_is_not_installed_has_no_version():
    assert version_of("tlfeatures_no_such_package") is None


def test_the_backend_of_keras_is_the_one_that_its_variable_names(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert backend_of_keras() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert backend_of_keras() == "tensorflow"
    monkeypatch.delenv("KERAS_BACKEND")
    assert backend_of_keras() == "tensorflow"
