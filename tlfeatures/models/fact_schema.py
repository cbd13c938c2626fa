"""The facts of a model file, and checks of their JSON types.

Facts are checked only here. Other modules can rely on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tlfeatures.errors import ParameterError
from tlfeatures.heads.calibration_methods import METHODS
from tlfeatures.metrics.targets import Target

Kind = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """Check whether a value is a string."""
    return isinstance(value, str)


def is_count(value: Any) -> bool:
    """Check whether a value is an integer of at least 0."""
    return type(value) is int and value >= 0


def is_number(value: Any) -> bool:
    """Check whether a value is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def list_of(kind: Kind) -> Kind:
    """Return the check of a list: all its items must pass `kind`."""
    return lambda value: isinstance(value, list) and all(map(kind, value))


def mapping_of(kind: Kind) -> Kind:
    """Return the check of a JSON object: all its values must pass `kind`."""
    return lambda value: isinstance(value, dict) and all(map(kind, value.values()))


def optional(kind: Kind) -> Kind:
    """Return the check of a value that is null or passes `kind`."""
    return lambda value: value is None or kind(value)


def record(needed: Mapping[str, Kind], further: Mapping[str, Kind] | None = None) -> Kind:
    """Return the check of a JSON object with needed keys and optional (further) keys."""
    return lambda value: isinstance(value, dict) and not wrong_keys(value, needed, further or {})


def wrong_keys(
    facts: Mapping[str, Any], needed: Mapping[str, Kind], further: Mapping[str, Kind]
) -> list[str]:
    """Return the keys that are missing or whose value does not pass its check.

    Parameters
    ----------
    facts : mapping
    needed : mapping of key to check
        Keys that the facts must have.
    further : mapping of key to check
        Keys that may be missing.
    """
    wrong = [key for key, kind in needed.items() if key not in facts or not kind(facts[key])]
    wrong += [key for key, kind in further.items() if key in facts and not kind(facts[key])]
    return wrong


def _interval(value: Any) -> bool:
    return list_of(is_number)(value) and len(value) == 2


_RANGE = record(
    {
        **dict.fromkeys(("lowest", "highest"), is_number),
        **dict.fromkeys(("groups", "too_small"), is_count),
    }
)
_SCORE = record(
    {
        **dict.fromkeys(("score", "mean", "std"), optional(is_number)),
        "interval": optional(_interval),
        "groups_range": optional(_RANGE),
        "folds": list_of(optional(is_number)),
        **dict.fromkeys(("reason", "folds_reason"), optional(is_text)),
    }
)
_CHOSEN = record(
    {
        "scoring": is_text,
        **dict.fromkeys(("score", "own", "optimism"), optional(is_number)),
        "interval": optional(_interval),
        "candidates": is_count,
        "reason": optional(is_text),
    }
)
_OUTLIERS = record(
    {
        "threshold": is_number,
        **dict.fromkeys(("neighbor", "columns", "beyond", "compared"), is_count),
    },
    {"share": is_number},
)

_CONTROL = record(
    {
        **dict.fromkeys(("name", "about"), is_text),
        "score": optional(is_number),
        "interval": optional(_interval),
        "beaten": optional(lambda value: isinstance(value, bool)),
        "reason": optional(is_text),
        "classes": list_of(is_text),
    }
)


def _share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


_CLASS_SETS = record({"images": is_count, "coverage": _share, "mean_size": is_number})
_MEASURED_SETS = record(
    {
        **dict.fromkeys(("level", "coverage", "single"), _share),
        "mean_size": is_number,
        "by_class": mapping_of(_CLASS_SETS),
    }
)
_SETS = record({"units": is_count, "images": is_count, "measured": optional(_MEASURED_SETS)})

_PROBABILITIES = record(
    {
        "method": lambda value: value is None or value in METHODS,
        **dict.fromkeys(("fold_images", "images"), optional(is_count)),
        "log_loss": optional(is_number),
        "calibration_error": is_number,
    }
)
_BACKBONE = record(
    {"name": is_text, "spec": lambda value: isinstance(value, dict), "embedding": is_text}
)


def _bounds(value: Any) -> bool:
    return list_of(_share)(value) and len(value) == 2


_SHARE = record(
    {
        "score": optional(_share),
        "interval": optional(_bounds),
        "reason": optional(is_text),
        "groups_range": optional(_RANGE),
    }
)


def _target(value: Any) -> bool:
    """Check whether an operating point can be chosen for a target."""
    try:
        return is_text(value) and Target.parse(value).text == value
    except ParameterError:
        return False


_POINT = record(
    {
        "label": is_text,
        "at": _target,
        "threshold": _share,
        "images": lambda value: is_count(value) and value > 0,
        "positives": is_count,
        "grouped": lambda value: isinstance(value, bool),
        "scores": record(dict.fromkeys(("recall", "precision", "specificity", "accuracy"), _SHARE)),
    }
)


def _is_point(value: Any) -> bool:
    """Check an operating point. Keys that it does not have are wrong, too."""
    return _POINT(value) and len(value) == 7 and value["positives"] <= value["images"]


def _columns(value: Any) -> bool:
    """Check whether it is the first of some columns, and the one after the last; or null."""
    return value is None or (list_of(is_count)(value) and len(value) == 2)


def _classes(value: Any) -> bool:
    """Check whether there are two or more names, which are sorted and unique."""
    return list_of(is_text)(value) and len(value) > 1 and value == sorted(set(value))


def _versions(value: Any) -> bool:
    return mapping_of(is_text)(value) and "scikit-learn" in value


_NEEDED: dict[str, Kind] = {
    "spec": optional(lambda value: isinstance(value, dict)),
    "embedding": is_text,
    "classes": _classes,
    "images": is_count,
    "columns": is_count,
    "head": is_text,
    "versions": _versions,
}
_FURTHER: dict[str, Kind] = {
    **dict.fromkeys(("variants", "folds", "copies", "compared", "tested"), is_count),
    "counts": mapping_of(is_count),
    "params": lambda value: isinstance(value, dict),
    "tuned": lambda value: isinstance(value, bool),
    **dict.fromkeys(("split", "form"), is_text),
    "groups": optional(is_count),
    "included": list_of(is_text),
    "verdict": list_of(is_text),
    "scores": mapping_of(_SCORE),
    "controls": list_of(_CONTROL),
    "chosen": mapping_of(_CHOSEN),
    "outliers": _OUTLIERS,
    "sets": _SETS,
    "operating_point": optional(_is_point),
    "joined": list_of(_BACKBONE),
    "sketched": list_of(_columns),
    "probabilities": optional(_PROBABILITIES),
}


def wrong_facts(facts: Mapping[str, Any]) -> list[str]:
    """Return the names of facts that are missing or have the wrong type.

    Parameters
    ----------
    facts : mapping
        JSON data of a model file. Unknown facts are not checked.

    Returns
    -------
    list of str
        Empty if the facts are valid. `Spec.from_dict` checks the spec.
    """
    wrong = wrong_keys(facts, _NEEDED, _FURTHER)
    if not wrong and set(facts.get("counts", facts["classes"])) != set(facts["classes"]):
        wrong.append("counts")
    point = facts.get("operating_point")
    if not wrong and point is not None and point["label"] not in facts["classes"]:
        wrong.append("operating_point")
    return wrong
