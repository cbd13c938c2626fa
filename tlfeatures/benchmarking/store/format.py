"""The files of a results folder, and the type of every fact in them.

`results.json` has the study, the ranking and the facts of all entries; `predictions.csv` has one
row for each tested image of each entry. The study (images, labels, folds) of a folder never
changes, so that its entries can be compared. Another embeddings file may have other
near-duplicates, which change the folds; its results then need another folder.
"""

from __future__ import annotations

from typing import Any

RESULTS = "results.json"
PREDICTIONS = "predictions.csv"
# of predictions.csv, before one column of probabilities for each class
COLUMNS = ("id", "label", "head", "embedding", "repeat", "fold", "tuned", "key", "predicted")
STUDY_FACTS: dict[str, Any] = {
    **dict.fromkeys(("file", "split", "weights", "study"), str),
    **dict.fromkeys(("images", "tested", "copies", "folds"), int),
    **dict.fromkeys(("classes", "copy_pairs", "unreadable"), list),
    **dict.fromkeys(("groups", "random_state", "label_level"), int | None),
    **dict.fromkeys(("labels", "groups_from"), str | None),
    **dict.fromkeys(("labels_given", "others_train"), bool),
    "files": dict,
    "near_duplicates": float | int | None,
    "label_columns": dict | None,
}
_NUMBER: Any = float | int | None
IDENTITY_FACTS: dict[str, Any] = {"study": str}
HEAD_FACTS: dict[str, Any] = {"heads": list}
ENTRY_FACTS: dict[str, Any] = {
    **dict.fromkeys(("head", "file", "embedding", "matrix", "key"), str),
    **dict.fromkeys(("params", "scores", "versions"), dict),
    **{"repeat": int, "tuned": bool, "chosen": list},
    **dict.fromkeys(("fit_seconds", "test_fraction"), float | int),
}
ENTRY_SCORE: dict[str, Any] = {"mean": _NUMBER, "folds": list}
FILE_FACTS: dict[str, Any] = {"spec": dict, "provenance": dict}
