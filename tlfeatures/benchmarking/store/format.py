"""The files of a results folder. This docstring is the format's specification, version 3.

``study.npz``
    The study, which all entries have in common: the images, their labels, groups, splits and
    copies, and the folds of the first repeat. It is written when the folder is created and never
    changes, so that all entries of a folder can be compared. Another embeddings file may have
    other near-duplicates, which change the folds; its results then need another folder.
``entries/KEY.npz``
    One head on one embedding in one repeat: its facts, the fold that tested each image, the head's
    own decisions, and the probabilities. All heads of a repeat on an embedding are computed
    together, and then their files are written one after the other. The key is a hash of everything
    that the values depend on, so the file of a key never changes.
``results.json``
    The facts of the study and of all entries, the ranking, the controls and the verdict. It is
    written at the end of each run. Readers of a benchmark ignore entries that this file does not
    name: they belong to a run that is not complete.

Both npz files are archives (see `archive.py`) of ``facts.json`` and arrays.

``study.npz``
    Facts: ``format``, ``format_version``, ``study`` (a hash of the images and folds), ``ids``,
    ``y``, ``groups``, ``split`` (lists with one text for each of n images; the last two may be
    null). Arrays: ``copies`` (p, 2) int32; ``test`` int32, the test rows of all f folds, one fold
    after the other; ``test_ends`` (f,) int64, the position in ``test`` where each fold ends;
    ``train`` and ``train_ends``, the same for training rows. No stored training rows
    means: the fold trains on all images that it doesn't test.
``entries/KEY.npz``
    Facts: ``format``, ``format_version``, ``study``, ``commands`` (of the run), ``source`` (spec,
    provenance, near_duplicates and images_per_second of the embeddings file, or ``joined``: these
    facts and ``file`` of each backbone by its name; or null) and ``entry``. Arrays: ``fold``
    (n,) int32, -1 for an image that was not tested; ``predicted`` (t,) int32, the index of the
    class among the sorted classes; ``probabilities`` (t, k) float64, NaN if the head gives none.
    The last two have one row for each of the t tested images, in the order of the images. With more
    than 100 classes, ``probabilities`` are float32.

To change the format after the first release: increase ``FORMAT_VERSION``, keep reading every
released version, and add a folder of the old version to the tests' fixtures.
"""

from __future__ import annotations

from typing import Any

FORMAT = "tlfeatures benchmark"
FORMAT_VERSION = 3

RESULTS = "results.json"
STUDY = "study.npz"
ENTRIES = "entries"  # a folder
STUDY_ARRAYS = {
    "copies": "<i4",
    **{"train": "<i4", "train_ends": "<i8"},
    **{"test": "<i4", "test_ends": "<i8"},
}
ENTRY_ARRAYS = {"fold": "<i4", "predicted": "<i4", "probabilities": "<f8"}
MANY_CLASSES_ARRAYS = {**ENTRY_ARRAYS, "probabilities": "<f4"}

STUDY_FACTS: dict[str, Any] = {
    **dict.fromkeys(("file", "split", "weights", "study"), str),
    **dict.fromkeys(("images", "tested", "copies", "folds"), int),
    **dict.fromkeys(("classes", "copy_pairs", "unreadable"), list),
    **dict.fromkeys(("groups", "random_state"), int | None),
    **dict.fromkeys(("labels", "groups_from"), str | None),
    "files": dict,
}
_NUMBER: Any = float | int | None
RUN_FACTS: dict[str, Any] = {
    **{"study": str, "heads": list, "commands": list, "files": dict},
    "controls": list,
}
ENTRY_FACTS: dict[str, Any] = {
    **dict.fromkeys(("head", "classifier", "settings", "file", "embedding", "matrix", "key"), str),
    **dict.fromkeys(("params", "scores", "versions"), dict),
    **{"repeat": int, "variants": int, "columns": int, "tuned": bool, "chosen": list},
    **{"fit_version": int, "random_state": int | None},
    **dict.fromkeys(("fit_seconds", "test_fraction"), float | int),
}
ENTRY_SCORE: dict[str, Any] = {
    **dict.fromkeys(("score", "mean", "std"), _NUMBER),
    **{"interval": list | None, "folds": list, "groups_range": dict | None},
    **dict.fromkeys(("reason", "folds_reason"), str | None),
}
GROUPS_RANGE: dict[str, Any] = {
    **dict.fromkeys(("lowest", "highest"), float | int),
    **dict.fromkeys(("groups", "too_small"), int),
}
CONTROL_FACTS: dict[str, Any] = {
    **dict.fromkeys(("name", "about", "head", "key"), str),
    **dict.fromkeys(("score", "balanced_accuracy"), _NUMBER),
    **{"interval": list | None, "images": int, "beaten": bool | None, "reason": str | None},
    **dict.fromkeys(("classes", "evidence"), list),
}
FILE_FACTS: dict[str, Any] = {
    "spec": dict,
    "provenance": dict,
    **dict.fromkeys(("near_duplicates", "images_per_second"), float | int | None),
}
