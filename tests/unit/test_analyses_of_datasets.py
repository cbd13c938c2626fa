"""Audit, learning curve and training curve: of a file or its dataset, with a head in any form."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from tests.fakes import write_image
from tests.unit.data import augmented, extract_pixels
from tests.unit.data import dataset as noise
from tlfeatures import audit, learning_curve, load_dataset, make_head, training_curve
from tlfeatures.errors import ParameterError
from tlfeatures.model_selection.training_curve import TrainingCurve

SHORT = {"epochs": 3, "steps": 1}

ANALYSES = {
    "audit": lambda data, **options: audit(data, head="lda", cv=3, **options),
    "learning_curve": lambda data, **options: learning_curve(
        data, "lda", cv=3, sizes=[4, 8], n_jobs=1, **options
    ),
    "training_curve": lambda data, **options: training_curve(data, params=SHORT, cv=3, **options),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two embeddings of 40 images; one is in both classes, and two are in one class twice."""
    folder = tmp_path_factory.mktemp("analyses")
    for number in range(40):
        label = "ab"[number % 2]
        write_image(folder / "photos" / label / f"{number:02}.png", number)
    shutil.copy(folder / "photos" / "a" / "00.png", folder / "photos" / "b" / "copy.png")
    shutil.copy(folder / "photos" / "a" / "02.png", folder / "photos" / "a" / "copy.png")
    extract_pixels(folder / "photos", folder / "x.h5", pools=["avg", "flatten"])
    return folder / "x.h5"


@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize("embedding", ["grid8.avg", "grid8.flatten"])
def test_a_dataset_gives_what_its_file_gives(file, analysis, embedding):
    run = ANALYSES[analysis]
    of_file = run(file, embedding=embedding)
    data = load_dataset(file, embedding, looks=analysis == "audit")
    assert run(data).to_dict() == of_file.to_dict()
    assert len(data.copies) >= 2


@pytest.mark.parametrize("similarity", [0.2, 1.0, None])
def test_an_audit_finds_copies_by_the_similarity_that_it_is_given(file, similarity):
    of_file = ANALYSES["audit"](file, embedding="grid8.avg", near_duplicates=similarity)
    for own in ("auto", 0.5, None):
        data = load_dataset(file, "grid8.avg", near_duplicates=own, looks=True)
        assert ANALYSES["audit"](data, near_duplicates=similarity) == of_file


def test_an_audit_keeps_the_copies_of_a_dataset(file):
    data = load_dataset(file, "grid8.flatten", near_duplicates=None)
    i, j = data.ids.tolist().index("a/10.png"), data.ids.tolist().index("b/11.png")
    data = replace(data, copies=np.concatenate([data.copies, [[i, j]]]))
    findings = audit(data, head="lda", cv=3).findings
    copies = [each for each in findings if each.kind == "near-duplicate"]
    assert [{each.id, each.other} for each in copies] == [
        {"a/00.png", "b/copy.png"},
        {"a/10.png", "b/11.png"},
    ]
    assert "the same file" in copies[0].reason
    assert copies[0].score == 1
    assert "nearly the same image" in copies[1].reason
    assert copies[1].score < 1


def test_an_audit_uses_no_variants():
    data = augmented(signal=3.0)
    result = audit(data, head="lda", cv=3)
    assert result == audit(replace(data, variants=None), head="lda", cv=3)
    assert data.variants is not None


@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize(
    "options",
    [
        {"embedding": "x.avg"},
        {"labels": {"a/1.png": "a"}},
        {"groups": "(a)"},
        {"label_level": 1},
        {"columns": {"id": "file"}},
    ],
)
def test_options_of_a_file_are_refused_with_a_dataset(analysis, options):
    (name,) = options
    with pytest.raises(ParameterError, match=f"{name} can't be changed for a Dataset; give {name}"):
        ANALYSES[analysis](noise(), **options)


@pytest.mark.parametrize("analysis", [audit, learning_curve, training_curve])
def test_an_unknown_option_is_an_error_that_names_the_function(analysis):
    with pytest.raises(TypeError, match=rf"^{analysis.__name__}\(\) .*unexpected.*'lables'"):
        analysis(noise(), lables={})


# ---- heads


def same(one, other):
    """Compare results but for the name and the parameters of the head."""
    facts = [{**each.to_dict(), "head": None, "params": None} for each in (one, other)]
    return facts[0] == facts[1]


def test_a_classifier_gives_what_its_name_gives():
    data = noise(signal=3.0)
    by_name, own = (audit(data, head=head, cv=3) for head in ("lda", make_head("lda")))
    assert same(by_name, own)
    assert (by_name.head, own.head) == ("lda", "ShrunkLDA")
    by_name, own = (
        learning_curve(data, head, cv=3, sizes=[5], n_jobs=1)
        for head in ("logreg", make_head("logreg"))
    )
    assert same(by_name, own)
    assert (by_name.head, own.head) == ("logreg", "LogisticRegression")
    by_name = training_curve(data, "mlp", params=SHORT, cv=3)
    own = training_curve(data, make_head("mlp", **SHORT), cv=3)
    assert same(by_name, own)
    assert (by_name.head, own.head) == ("mlp", "ScaledMLP")
    assert isinstance(own, TrainingCurve)


def test_another_name_of_a_head_is_recorded_as_its_own_name():
    assert audit(noise(), head="svm", cv=3).head == "rbf-svm"
    assert learning_curve(noise(), "svm", cv=3, sizes=[5], n_jobs=1).head == "rbf-svm"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda data: audit(data, head=LinearSVC()), "head LinearSVC gives no probabilities"),
        (lambda data: audit(data, head=["lda"]), r"head has .'lda'.; expected the name of a"),
        (lambda data: learning_curve(data, LinearSVC), r"class LinearSVC; .* as in LinearSVC\(\)"),
        (lambda data: learning_curve(data, LinearSVC(), params={"C": 1}), "params has C, but no"),
        (lambda data: training_curve(data, LinearSVC()), "LinearSVC does not train in epochs"),
        (lambda data: training_curve(data, None), "head has None; expected"),
        (lambda data: learning_curve(data.X), "ndarray; expected an embeddings file or a Dataset"),
    ],
)
def test_what_can_not_be_done_is_said(run, said):
    with pytest.raises(ParameterError, match=said) as refused:
        run(noise())
    assert "\n" not in str(refused.value)
