"""The ranking marks what is not significantly different from the best, and what is not tested."""

import json
import re

import numpy as np
import pytest

from tests.unit.data import dataset
from tests.unit.simulations import entries_of
from tlfeatures.benchmarking.rank import compare
from tlfeatures.metrics.scores import SCORES


def test_clearly_worse_heads_are_told_from_the_best():
    made, study, scorer = entries_of(
        dataset(1000), {"good": 0.9, "as good": 0.9, "bad": 0.7, "dummy": 0.5}, repeats=3
    )
    found = compare(made, study, "accuracy", scorer)
    marks = {rank.head: rank.best for rank in found.ranking}
    assert marks == {"good": True, "as good": True, "bad": False, "dummy": False}
    assert found.ranking[0].p is None
    assert [rank.p < 0.05 for rank in found.ranking[1:]] == [False, True, True]
    assert found.ranking[-1].difference == pytest.approx(-0.4, abs=0.05)
    assert "It is not sure that " in found.verdict[2]
    assert 0 < found.detectable < 0.1
    assert re.search(r"a difference in accuracy of \d\.\d percentage points", found.verdict[2])


def test_p_values_are_adjusted_for_their_number():
    heads = {"best": 0.85, **{f"head {i}": 0.81 for i in range(9)}}
    made, study, scorer = entries_of(dataset(1000), heads, repeats=2)
    many = compare(made, study, "accuracy", scorer)
    worst = many.ranking[-1].head
    two = compare(
        [entry for entry in made if entry.facts["head"] in ("best", worst)],
        study,
        "accuracy",
        scorer,
    )
    assert many.ranking[-1].p > two.ranking[-1].p


def test_with_few_images_it_says_so():
    made, study, scorer = entries_of(dataset(40), {"a": 0.8, "b": 0.7, "dummy": 0.5})
    verdict = " ".join(compare(made, study, "accuracy", scorer).verdict)
    assert re.search(r"no significant difference between the head and .*dummy", verdict)
    assert re.search(r"with 40 tested images, a difference .* goes unnoticed half of the", verdict)
    made, study, scorer = entries_of(dataset(60), {"a": 0.95})  # no other head: no differences
    assert "half of the time" not in " ".join(compare(made, study, "accuracy", scorer).verdict)


def test_more_repeats_tell_smaller_differences():
    heads = {"a": 0.85, "b": 0.8}
    once, often = (
        compare(made, study, "accuracy", scorer).detectable
        for made, study, scorer in (
            entries_of(dataset(600), heads, repeats=repeats) for repeats in (1, 10)
        )
    )
    assert often < once


def test_intervals_cover_the_truth_and_repeats_do_not_pass_for_images():
    widths = []
    for repeats in (1, 4):
        made, study, scorer = entries_of(dataset(500), {"a": 0.8, "b": 0.8}, repeats=repeats)
        low, high = (
            compare(made, study, "accuracy", scorer).ranking[0].scores["accuracy"]["interval"]
        )
        assert low < 0.8 < high
        widths.append(high - low)
    assert widths[1] > widths[0] / 2.5  # predictions at random: nearly independent repeats


def test_every_score_has_an_interval_and_json_has_no_nan():
    made, study, scorer = entries_of(dataset(200), {"a": 0.8, "b": 0.6})
    found = compare(made, study, "log_loss", scorer)
    for name in SCORES:
        for entry in made:
            low, high = entry.facts["scores"][name]["interval"]
            assert low <= entry.facts["scores"][name]["score"] <= high
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.ranking[0].head == "a"  # the smallest loss


def test_one_split_compares_over_images():
    split = np.array(["train", "val"] * 100)
    data = dataset(200, classes="ab", split=split, y=np.array(list("aabb") * 50))
    made, study, scorer = entries_of(data, {"good": 0.95, "dummy": 0.5})
    found = compare(made, study, "accuracy", scorer)
    assert "paired test over the tested images" in found.test_method
    assert 0 < found.detectable < 0.2
    assert found.ranking[1].p < 0.05
    assert not found.ranking[1].best


def test_what_tells_two_heads_of_a_name_apart_is_in_their_label():
    made, study, scorer = entries_of(dataset(200), {"a": 0.8, "b": 0.6})
    made[1].facts.update(head="a", params={"C": 2.0})
    made[0].facts.update(params={"C": 1.0})
    labels = {rank.label for rank in compare(made, study, "accuracy", scorer).ranking}
    assert labels == {"a C=1.0", "a C=2.0"}


def test_few_groups_are_said_whatever_the_images():
    data = dataset(400, groups=np.array([f"g{i // 50}" for i in range(400)]))
    made, study, scorer = entries_of(data, {"a": 0.9, "b": 0.8}, cv=2)
    verdict = " ".join(compare(made, study, "accuracy", scorer).verdict)
    assert "With only 8 groups" in verdict
    assert "with 400 tested images, a difference in accuracy" in verdict
    assert "95 % interval" not in verdict


def test_many_heads_on_one_split_can_still_be_told_apart():
    """The smallest p value is small enough for many heads."""
    split = np.array(["train", "val"] * 200)
    data = dataset(400, split=split, y=np.array(list("aabb") * 100))
    heads = {"best": 0.97, **{f"head {i}": 0.5 for i in range(59)}}
    made, study, scorer = entries_of(data, heads)
    found = compare(made, study, "accuracy", scorer)
    assert not any(rank.best for rank in found.ranking[1:])


@pytest.mark.parametrize("scoring", SCORES)
def test_the_interval_contains_zero_only_if_there_is_no_significant_difference(scoring):
    heads = {f"head {number}": 0.9 - number / 40 for number in range(8)}
    made, study, scorer = entries_of(dataset(600), heads)
    ranking = compare(made, study, scoring, scorer).ranking
    assert {rank.standing for rank in ranking[1:]} == {"not different", "different"}
    for rank in ranking[1:]:
        low, high = rank.difference_interval
        assert (rank.standing == "not different") == (low <= 0 <= high)
        score, best = (which.scores[scoring]["score"] for which in (rank, ranking[0]))
        assert rank.difference == pytest.approx(score - best)
        assert (rank.within is None) == (scoring == "log_loss")


def test_a_head_that_is_practically_as_good_is_named():
    made, study, scorer = entries_of(dataset(4000), {"a": 0.99, "b": 0.99, "c": 0.8})
    found = compare(made, study, "accuracy", scorer)
    first, second, third = found.ranking
    assert second.within > 0.8
    assert third.within < 0.001 < 0.99 < third.worse
    said = f"better than {second.label} (within 1 percentage point with "
    assert f"It is not sure that {first.label} is {said}" in " ".join(found.verdict)
    assert "c (within" not in " ".join(found.verdict)


def test_equal_predictions_of_few_images_are_not_certainly_equal():
    made, study, scorer = entries_of(dataset(60), {"a": 0.9, "b": 0.9})
    for name in ("predicted", "probabilities"):
        object.__setattr__(made[1], name, getattr(made[0], name))
    made[1].facts["scores"] = made[0].facts["scores"]
    second = compare(made, study, "accuracy", scorer).ranking[1]
    assert second.difference == 0
    assert second.p == 1
    assert second.within < 0.5
