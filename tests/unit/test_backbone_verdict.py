"""What a verdict says about backbones."""

from dataclasses import replace

import pytest

from tests.unit.drawings import rank_of, ranking_of
from tlfeatures.benchmarking.backbones import backbone_lines, backbones_of, rank_backbones
from tlfeatures.benchmarking.comparison import BackboneRank


def compared(second, names=("vgg16", "lite0"), scoring="accuracy", **changes):
    """Compare a best head of 0.9 with another, on one embedding each."""
    first = rank_of("logreg", 0.9, best=True, p=None, embedding="vgg16:x.avg")
    comparison = ranking_of(first, replace(second, **changes), units=150)
    backbones = [BackboneRank(name, place, 512 + place) for place, name in enumerate(names)]
    return replace(comparison, backbones=backbones, scoring=scoring)


def second_of(standing, difference, interval, score=0.89):
    rank = rank_of("knn", score, embedding="lite0:y.none")
    return replace(rank, standing=standing, difference=difference, difference_interval=interval)


WORDS = {
    "lite0, with knn on lite0:y.none (513 numbers per image), is as good as vgg16": (
        second_of("not different", -0.004, [-0.016, 0.008])
    ),
    "is not significantly different from vgg16": (
        second_of("not different", -0.004, [-0.03, 0.022])
    ),
    "is worse than vgg16": second_of("different", -0.05, [-0.07, -0.03]),
    "can't be tested against vgg16": second_of("untested", None, None),
}


@pytest.mark.parametrize("words", WORDS)
def test_a_backbone_is_compared_in_words(words):
    first, line = backbone_lines(compared(WORDS[words]))
    assert first == (
        "Best backbone: vgg16, with logreg on vgg16:x.avg (512 numbers per image): accuracy 90.0 % "
        "(95 % interval 85.0 to 95.0)."
    )
    assert words in line


def test_the_difference_and_its_interval_are_said():
    (_, line) = backbone_lines(compared(second_of("not different", -0.004, [-0.016, 0.008])))
    assert line.endswith(
        "accuracy 89.0 % (95 % interval 84.0 to 94.0), difference -0.4 points (95 % interval -1.6 "
        "to 0.8)."
    )


def test_another_score_has_no_percentages():
    rank = second_of("not different", 0.004, [-0.016, 0.03])
    scores = {"log_loss": {"score": 0.31, "interval": None}}
    comparison = compared(rank, scoring="log_loss", scores=scores)
    first = replace(comparison.ranking[0], scores=scores)
    comparison = replace(comparison, ranking=[first, comparison.ranking[1]])
    line = backbone_lines(comparison)[1]
    assert "is not significantly different from vgg16: log loss 0.310, difference 0.004" in line


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        ("not different", "may not pay: lite0 alone is not significantly different"),
        ("different", "pays: each of them alone is significantly worse"),
        ("untested", None),
    ],
)
def test_joining_pays_only_if_each_backbone_alone_is_worse(standing, words):
    rank = second_of(standing, -0.03, [-0.05, -0.01])
    comparison = compared(rank, names=("vgg16 + lite0", "lite0"))
    backbones = [*comparison.backbones, BackboneRank("vgg16", 1, 512)]
    lines = backbone_lines(replace(comparison, backbones=backbones))
    assert [words in line for line in lines if "Joining" in line] == ([True] if words else [])


def test_nothing_is_said_of_joining_if_a_part_was_not_tested_alone():
    rank = second_of("different", -0.03, [-0.05, -0.01])
    for alone in ("lite0", "squeezenet"):
        lines = backbone_lines(compared(rank, names=("vgg16 + lite0", alone)))
        assert not any("Joining" in line for line in lines)


@pytest.mark.parametrize(("units", "is_as_good"), [(149, False), (150, True)])
def test_few_images_show_no_backbone_to_be_as_good(units, is_as_good):
    comparison = compared(second_of("not different", 0.0, [0.0, 0.0]))
    largest = replace(comparison.largest_class, units=units)
    line = backbone_lines(replace(comparison, largest_class=largest))[1]
    assert ("is as good as" in line) == is_as_good
    assert ("is not significantly different from" in line) != is_as_good


def test_joining_does_not_pay_if_one_backbone_has_the_best_score():
    rank = second_of("not different", -0.03, [-0.05, -0.01])
    lines = backbone_lines(compared(rank, names=("lite0", "vgg16 + lite0")))
    assert lines[-1] == "Joining the backbones doesn't pay: lite0 alone has the best score."


def test_one_backbone_is_not_compared():
    entries = [{"columns": place, "file": "gone.h5"} for place in range(4)]
    assert rank_backbones(["vgg16"] * 4, entries, {}) == []
    found = rank_backbones(["b", "a", "b", "a"], entries, {})
    assert [(each.name, each.place, each.columns) for each in found] == [("b", 0, 0), ("a", 1, 1)]


def with_speeds(comparison, *speeds):
    backbones = [
        replace(backbone, images_per_second=speed)
        for backbone, speed in zip(comparison.backbones, speeds, strict=True)
    ]
    return replace(comparison, backbones=backbones)


@pytest.mark.parametrize(
    ("interval", "speeds", "pays"),
    [
        ([-0.016, 0.008], (3.6, 60.0), True),
        ([-0.016, 0.008], (50.0, 60.0), False),  # hardly faster
        ([-0.03, 0.022], (3.6, 60.0), False),  # not surely as good
        ([-0.016, 0.008], (None, 60.0), False),
        ([-0.016, 0.008], (3.6, None), False),
    ],
)
def test_a_backbone_that_is_as_good_and_much_faster_pays(interval, speeds, pays):
    comparison = with_speeds(compared(second_of("not different", -0.004, interval)), *speeds)
    lines = backbone_lines(comparison)
    said = "lite0 pays: it is as good as vgg16 and 16.7 times as fast."
    assert (lines[-1] == said) == pays
    assert len(lines) == 2 + pays
    for line, speed in zip(lines, speeds, strict=False):
        assert ("images/s" in line) == (speed is not None)


def test_the_speed_of_joined_backbones_is_that_of_all_one_after_the_other():
    speeds = {"vgg16": 3.0, "lite0": 60.0}
    joined = {name: {"images_per_second": speed} for name, speed in speeds.items()}
    for part in joined.values():
        part |= {"file": "x.h5", **about("vgg16")}
    files = {"both": {"joined": joined}, "one": {"images_per_second": 3.0, **about("vgg16")}}
    entries = [
        {"columns": 3, "file": "both", "embedding": "vgg16:a+lite0:b"},
        {"columns": 3, "file": "one", "embedding": "a"},
    ]
    found = rank_backbones(["vgg16 + lite0", "vgg16"], entries, files)
    assert [each.images_per_second for each in found] == pytest.approx([1 / (1 / 3 + 1 / 60), 3])


def about(backbone, size=224, weights="imagenet"):
    return {"spec": {"backbone": backbone, "size": [size, size], "weights": weights}}


def test_backbones_of_one_name_are_told_apart_by_their_files():
    files = {
        "out/a.h5": about("vgg16"),
        "b.h5": about("vgg16", 150),
        "c.h5": about("lite0"),
        "d.h5": about("lite0", weights="elsewhere"),  # the same backbone
        "c.h5 + a.h5": {
            "joined": {
                "lite0": {"file": "c.h5", **about("lite0")},
                "vgg16": {"file": "out/a.h5", **about("vgg16")},
            }
        },
    }
    entries = [{"file": file, "embedding": "x.avg"} for file in [*files, "gone.h5"]]
    entries[4]["embedding"] = "lite0:x.avg+vgg16:y.avg"
    found = backbones_of(entries, files)
    assert found == ["a.h5", "b.h5", "lite0", "lite0", "lite0 + a.h5", ""]


def test_files_of_one_name_in_two_folders_are_told_apart_by_their_paths():
    files = {"one/a.h5": about("vgg16"), "two/a.h5": about("vgg16", 150)}
    entries = [{"file": file, "embedding": "x.avg"} for file in files]
    assert backbones_of(entries, files) == list(files)
