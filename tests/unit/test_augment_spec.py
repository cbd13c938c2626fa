"""What can be asked of an augmentation, and how the spec keeps it."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data import SPEC, TURNED
from tlfeatures.errors import FormatError, ParameterError
from tlfeatures.features.images.augment import MOST_VARIANTS, Augmentation
from tlfeatures.features.spec import Spec

ALL = {
    "rotation": 40.0,
    "zoom": 0.3,
    "shift": 0.2,
    "brightness": 0.4,
    "horizontal_flip": True,
    "vertical_flip": True,
}


examples = settings(max_examples=25, deadline=None)


numbers = {
    name: st.floats(0, largest)
    for name, largest in (("rotation", 180), ("zoom", 0.9), ("shift", 0.9), ("brightness", 0.9))
}


augmentations = st.builds(
    Augmentation,
    variants=st.integers(1, MOST_VARIANTS),
    **numbers,
    horizontal_flip=st.booleans(),
    vertical_flip=st.booleans(),
    seed=st.integers(0, 2**64),
)


def test_text_and_mapping_give_the_same():
    text = (
        " rotation=30, zoom = 0.2,shift=.1,brightness=0,horizontal_flip,vertical_flip=False,seed=7"
    )
    mapping = {
        "rotation": 30,
        "zoom": 0.2,
        "shift": 0.1,
        "horizontal_flip": True,
        "seed": 7,
    }
    expected = Augmentation(4, 30.0, 0.2, 0.1, 0.0, True, False, 7)
    assert Augmentation.parse(4, text) == Augmentation.parse(4, mapping) == expected
    assert json.dumps(asdict(Augmentation.parse(4, text))) == json.dumps(
        asdict(Augmentation.parse(4, mapping | {"brightness": 0}))
    )
    assert Augmentation.parse(4, "") == Augmentation.parse(4, {}) == Augmentation(4)


@examples
@given(augmentations)
def test_its_words_are_read_back(wanted):
    assert Augmentation.parse(wanted.variants, wanted.to_text()) == wanted


@pytest.mark.parametrize(
    "how", ["rotation=30,zoom=0.2,horizontal_flip", "vertical_flip,seed=4", "shift=0.1", TURNED]
)
def test_its_words_are_those_it_was_asked_for_in(how):
    assert sorted(Augmentation.parse(2, how).to_text().split(",")) == sorted(how.split(","))


@examples
@given(augmentations)
def test_a_mapping_of_its_attributes_gives_it_again(wanted):
    named = {name: value for name, value in asdict(wanted).items() if name in (*ALL, "seed")}
    assert Augmentation.parse(wanted.variants, named) == wanted


def test_a_part_that_is_there_twice_is_refused():
    with pytest.raises(ParameterError, match="rotation twice"):
        Augmentation.parse(1, "rotation=10,rotation=30")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("rotaton=30", "no part of an augment spec 'rotaton'; there are: rotation"),
        ("=3", "no part of an augment spec ''"),
        ("variants=3", "no part of an augment spec 'variants'"),
        ("rule=none", "no part of an augment spec 'rule'"),
        ("rotation", "rotation is True; expected a number"),
        ("rotation=", "rotation is ''; expected a number"),
        ("rotation=far", "rotation is 'far'; expected a number"),
        ("rotation=181", "rotation is 181.0; expected a number from 0 to 180"),
        ("rotation=-1", "rotation is -1.0; expected a number from 0 to 180"),
        ("rotation=nan", "rotation is nan"),
        ("zoom=inf", "zoom is inf; expected a number from 0 to 0.9"),
        ("zoom=1", "zoom is 1.0; expected a number from 0 to 0.9"),
        ("shift=0.91", "shift is 0.91"),
        ("brightness=2", "brightness is 2.0"),
        ("horizontal_flip=1", "horizontal_flip is 1.0; expected true or false"),
        ("vertical_flip=perhaps", "vertical_flip is 'perhaps'; expected true or false"),
        ("seed=1.5", "seed is '1.5'; expected a whole number"),
        ("seed", "seed is True; expected a whole number"),
        ("seed=-1", "seed is -1; expected 0 or more"),
        ({"rotation": "30"}, "rotation is '30'; expected a number"),
        ({"zoom": None}, "zoom is None; expected a number"),
        ({"shift": [0.1]}, "expected a number"),
        ({"horizontal_flip": 1}, "horizontal_flip is 1; expected true or false"),
        ({"seed": 1.0}, "seed is 1.0; expected a whole number"),
        ({"seed": True}, "seed is True; expected a whole number"),
        ({3: 4}, "no part of an augment spec '3'"),
        ({"variants": 3}, "no part of an augment spec 'variants'"),
    ],
)
def test_what_can_not_be_is_one_clear_error(how, message):
    with pytest.raises(ParameterError, match=message) as caught:
        Augmentation.parse(2, how)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("variants", [0, -1, MOST_VARIANTS + 1])
def test_so_many_variants_can_not_be(variants):
    with pytest.raises(ParameterError, match=f"augment is {variants}; expected 0 to 1000"):
        Augmentation.parse(variants, "")


@pytest.mark.parametrize("variants", [1.0, "2", True, None])
def test_a_number_of_variants_is_a_whole_one(variants):
    with pytest.raises(ParameterError, match=f"variants is {variants!r}; expected a whole number"):
        Augmentation.parse(variants, "")


# ---- in the spec


@examples
@given(augmentations | st.none())
def test_a_spec_with_or_without_variants_is_read_as_it_was_written(wanted):
    spec = replace(SPEC, augmentation=wanted)
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.differences(SPEC) == []


WRITTEN = asdict(Augmentation(2, **ALL))


@pytest.mark.parametrize(
    "damaged",
    [
        [],
        3,
        "rotation=3",
        {},
        {**WRITTEN, "more": 1},
        {name: value for name, value in WRITTEN.items() if name != "seed"},
        {**WRITTEN, "rule": "other"},
        {**WRITTEN, "rule": None},
        {**WRITTEN, "variants": 0},
        {**WRITTEN, "variants": 10**9},
        {**WRITTEN, "variants": 2.0},
        {**WRITTEN, "variants": "2"},
        {**WRITTEN, "rotation": 400},
        {**WRITTEN, "rotation": float("nan")},
        {**WRITTEN, "zoom": None},
        {**WRITTEN, "shift": []},
        {**WRITTEN, "brightness": True},
        {**WRITTEN, "horizontal_flip": 1},
        {**WRITTEN, "vertical_flip": "x" * 5000},
        {**WRITTEN, "seed": -3},
        {**WRITTEN, "seed": "x" * 5000},
    ],
)
def test_a_damaged_augmentation_is_refused(damaged):
    with pytest.raises(FormatError, match="augmentation"):
        Spec.from_dict({**SPEC.to_dict(), "augmentation": damaged})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@examples
@given(st.sampled_from(sorted(WRITTEN)), json_values)
def test_any_value_in_its_place_is_taken_or_refused(name, value):
    try:
        made = Augmentation.from_dict({**WRITTEN, name: value})
    except FormatError:
        return
    assert asdict(made) == {**WRITTEN, name: value}
