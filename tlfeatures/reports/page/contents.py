"""All contents of the page, as plain data for its template."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tlfeatures.benchmarking.comparison import INTERVALS, Comparison, Rank
from tlfeatures.benchmarking.study import entry_parts, every_file
from tlfeatures.errors import ParameterError, SourceError, TlfeaturesError
from tlfeatures.features.backbones.table import title_of
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.sources.open_source import open_stored_source, open_with_stored_options
from tlfeatures.features.sources.protocol import Source
from tlfeatures.heads.table import HEADS
from tlfeatures.metrics.chosen import ChosenScore
from tlfeatures.metrics.confusion import MANY_CLASSES
from tlfeatures.metrics.score_records import PooledScore, range_text
from tlfeatures.metrics.scores import score_name, score_text, score_unit
from tlfeatures.names import as_list, counted, folds_in_words, sample_words, some_of, unknown_name
from tlfeatures.progress import shown_progress
from tlfeatures.reports.benchmark_analyses import Analyses
from tlfeatures.reports.diagnostics import METHODS, confusion
from tlfeatures.reports.drawing import style
from tlfeatures.reports.page import errors_section, sections
from tlfeatures.reports.page.album import GALLERY, Album, gallery
from tlfeatures.reports.page.backbone_section import backbones
from tlfeatures.reports.page.thumbnails import thumbnails
from tlfeatures.reports.page.write import PAGE, render

logger = logging.getLogger(__name__)

# Parts that can be left out: those that need more than the benchmark's folder.
OPTIONAL = ("images", "map", "audit", "learning-curve", "epochs")

MOST_BYTES = 4_900_000  # of the page; what its other parts leave of this is for pictures
MOST_PICTURES = 2000
_PICTURE = 4000  # characters of a large picture

Result = TypeVar("Result")


@dataclass(frozen=True)
class Options:
    """Options of the page.

    Attributes
    ----------
    head, embedding : str or None
        Head and embedding whose predictions are shown in detail; by default the best.
    images : str or None
        Folder of the images, if they were moved since they were embedded.
    without : str or collection of str
        Parts to leave out, from `OPTIONAL`.
    map : {"pca", "tsne"}
    title : str or None
        Title of the page, by default the names of the classes.
    """

    head: str | None = None
    embedding: str | None = None
    images: str | None = None
    without: str | Collection[str] = ()
    map: str = "pca"
    title: str | None = None

    def check(self) -> None:
        """Refuse sections, maps and folders that don't exist, and name those that do.

        Raises
        ------
        ParameterError
        """
        for name in as_list(self.without):
            if name not in OPTIONAL:
                raise unknown_name("section to leave out", name, OPTIONAL)
        if self.map not in METHODS:
            raise unknown_name("map", self.map, METHODS)
        if self.images is not None and not Path(self.images).is_dir():
            raise ParameterError(
                f"--images is {self.images}, which is not a folder; give the folder of the images"
            )


def contents(analyses: Analyses, options: Options) -> dict[str, Any]:
    """Gather all contents of the page.

    Parameters
    ----------
    analyses : Analyses
        Analyses of the benchmark.
    options : Options

    Returns
    -------
    dict
        Variables of the template; a section without contents is None.
    """
    rank = analyses.rank(options.head, options.embedding)
    predictions, parts = analyses.predictions(rank), _OptionalParts(analyses, rank, options)
    pairs = analyses.benchmark.study.facts["copy_pairs"]
    audit, points = parts.audit, parts.points
    album = Album.of(predictions, {} if points is None else points)
    shown_twice = [*album.ids[: 2 * GALLERY], *sections.audit_ids(audit), *sections.copy_ids(pairs)]
    fixed = {
        **_answer(analyses, rank, options.title),
        **_without_pictures(analyses, rank),
        "learning_curve": parts.learning_curve(),
        "epochs": parts.epochs(),
        "map": parts.map(album),
    }
    mistakes, uncertain = predictions.mistakes(), predictions.uncertain()

    def with_pictures(pictures: Mapping[str, str]) -> dict[str, Any]:
        return {
            **fixed,
            "mistakes": gallery(predictions, mistakes, pictures),
            "uncertain": gallery(predictions, uncertain, pictures),
            "audit": None if audit is None else sections.audit(audit, pictures),
            "copies": sections.copies(pairs, pictures),
            "pictures": len(pictures),
            "album": album.to_dict(predictions, pictures),
        }

    rest = len(render(PAGE, "page", with_pictures({})).encode("utf-8", "replace"))
    room = MOST_BYTES - rest - _PICTURE * len(shown_twice)
    wanted = list(dict.fromkeys([*shown_twice, *album.ids]))[:MOST_PICTURES]
    return with_pictures(parts.pictures(wanted, room))


def _without_pictures(analyses: Analyses, rank: Rank) -> dict[str, Any]:
    """Gather the sections that need only the benchmark's folder and have no pictures."""
    predictions, benchmark = analyses.predictions(rank), analyses.benchmark
    comparison, calibration = benchmark.comparison, benchmark.probabilities_of(rank)
    return {
        **_largest_class(comparison, rank),
        "ranking": sections.ranking(comparison),
        "heat_map": sections.heat_map(comparison),
        "controls": sections.controls(comparison),
        "backbones": backbones(comparison),
        "groups": sections.groups(benchmark.by_group(rank)),
        "confusion": errors_section.confusion_matrix(confusion(predictions)),
        "mistakes_count": int(predictions.wrong.sum()),
        "probabilities": errors_section.probabilities(predictions),
        "calibration": None if calibration is None else calibration.sentence,
        "sets": errors_section.label_sets(predictions, benchmark.together_of(rank)),
        "made": _origin(analyses, rank),
        "split": benchmark.study.facts["split"],
        "operating_point": [],
        "colors": style.COLORS,
    }


class _OptionalParts:
    """Parts that need more than the benchmark's folder; one that fails is logged and left out."""

    def __init__(self, analyses: Analyses, rank: Rank, options: Options) -> None:
        self._analyses, self._rank, self._options = analyses, rank, options
        self._mapped = self._try("map", lambda: analyses.map(rank, options.map))
        self.audit = self._try("audit", lambda: analyses.audit(rank))

    def _try(self, section: str, compute: Callable[[], Result]) -> Result | None:
        if section in as_list(self._options.without):
            return None
        try:
            return compute()
        except (TlfeaturesError, OSError) as error:
            logger.warning("the page has no %s: %s", section.replace("-", " "), error)
            return None

    @property
    def points(self) -> dict[str, str] | None:
        """Ids and labels of the images on the map."""
        if self._mapped is None:
            return None
        data, rows = self._analyses.dataset(self._rank), self._mapped[0]
        return dict(zip(data.ids[rows].tolist(), data.y[rows].tolist(), strict=True))

    def map(self, album: Album) -> dict[str, Any] | None:
        if self._mapped is None:
            return None
        (rows, points), data = self._mapped, self._analyses.dataset(self._rank)
        ids, labels = data.ids[rows], data.y[rows]
        wrong = self._analyses.wrong(self._rank)[rows]
        return {
            "figure": sections.image_map(points, labels, wrong),
            "points": album.places(ids.tolist(), labels.tolist()),
            "sample": sample_words(len(rows), len(data)) if len(rows) < len(data) else None,
        }

    def learning_curve(self) -> dict[str, Any] | None:
        curve = self._try("learning-curve", lambda: self._analyses.learning_curve(self._rank))
        return None if curve is None else sections.learning_curve(curve)

    def epochs(self) -> dict[str, Any] | None:
        """Return the training curve of a head that trains in epochs; None if no head does.

        This is the detailed head if it trains in epochs. Otherwise it is the best such head on the
        same embedding, or, if there is none, on any embedding.
        """
        ranking = self._analyses.benchmark.comparison.ranking
        same = [rank for rank in ranking if rank.embedding == self._rank.embedding]
        trained = self._analyses.in_epochs([self._rank, *same, *ranking])
        if trained is None:
            return None
        curve = self._try("epochs", lambda: self._analyses.training(trained))
        if curve is None:
            return None
        return sections.epochs(curve, trained.name)

    def pictures(self, ids: list[str], room: int) -> dict[str, str]:
        return self._try("images", lambda: self._thumbnails(ids, room)) or {}

    def _thumbnails(self, ids: list[str], room: int) -> dict[str, str]:
        # All files of a benchmark hold the same images: the first one records their folder.
        about = every_file(self._analyses.benchmark.study.facts["files"])[0]
        file = about["file"]
        try:
            source = _source_of(self._options.images, about["provenance"])
        except (ParameterError, SourceError):
            source = None
        if source is None:
            recorded = as_list(about["provenance"].get("source")) or ["a recorded folder"]
            raise ParameterError(
                f"the images of {file} are not in {', '.join(recorded)}; give their folder with "
                "--images FOLDER"
            )
        header = read_header(self._analyses.find(file))
        digests = dict(zip(header.ids, header.digests, strict=True))
        progress = self._analyses.progress_of("pictures")
        with shown_progress(progress, "pictures", "images") as show:
            return thumbnails(source, ids, digests, room, header.spec.value_range, show)


# ---- the answer


def _answer(analyses: Analyses, rank: Rank, title: str | None) -> dict[str, Any]:
    benchmark = analyses.benchmark
    facts, comparison = benchmark.study.facts, benchmark.comparison
    scoring, first = comparison.scoring, comparison.ranking[0]
    corrected = comparison.corrected(scoring) if rank is first else None
    own = rank.scores[scoring]
    usable = corrected is not None and corrected.score is not None
    score: PooledScore = corrected.as_pooled() if corrected and usable else own
    low, high = score["interval"] or (None, None)
    return {
        "title": title or _question(facts["classes"]),
        "score": score_text(scoring, score["score"]),
        "low": score_text(scoring, low),
        "high": score_text(scoring, high),
        "range": range_text(scoring, own["groups_range"]),
        "missing": score.get("reason"),
        "unit": score_unit(scoring),
        "scoring": score_name(scoring),
        "head": _in_words(rank),
        "embedding": _embedding(analyses, rank),
        "tested": facts["tested"],
        "unreadable": some_of(facts["unreadable"], 5),
        "unreadable_count": len(facts["unreadable"]),
        "how": _validation(facts, rank.repeats),
        # The verdict says it of the accuracy.
        "chosen": _chosen(comparison, corrected) if corrected and scoring != "accuracy" else None,
        "better": None if rank is first else f"{_in_words(first)} on {first.embedding}",
        "verdict": comparison.verdict,
        "random_weights": facts["weights"] == "random",
        "repeats": rank.repeats,
    }


def _chosen(comparison: Comparison, corrected: ChosenScore) -> str:
    """Say by how much choosing the best head flattered its score."""
    name, scoring = score_name(corrected.scoring), corrected.scoring
    best = f"This head was chosen as the best of {comparison.choices} on the same images."
    if corrected.score is None or corrected.optimism is None:
        return (
            f"{best} Its {name} is too good for this reason, and can't be corrected. Reason: "
            f"{corrected.reason}."
        )
    by = corrected.optimism_text(partial(score_text, scoring))
    points = f"{by} percentage points" if score_unit(scoring) else by
    own = f"{score_text(scoring, corrected.own)}{score_unit(scoring)}"
    if by == score_text(scoring, 0.0):
        return f"{best} Its own {name} is {own}; the choice did not flatter it."
    return (
        f"{best} Its own {name} is {own}; {points} of this come from the choice, and the {name} "
        "above is corrected for it."
    )


def _question(classes: list[str]) -> str:
    if len(classes) <= 4:
        return ", ".join(classes[:-1]) + f" or {classes[-1]}"
    return f"Which of {len(classes)} classes: {', '.join(classes[:3])} ..."


def _in_words(rank: Rank) -> str:
    title = HEADS[rank.head].title if rank.head in HEADS else rank.head
    return rank.label.replace(rank.head, title, 1)


def _embedding(analyses: Analyses, rank: Rank) -> str:
    facts = analyses.entry(rank).facts
    parts = entry_parts(analyses.benchmark.study.facts["files"], facts)
    return ", joined with ".join(
        _of_backbone(embedding, about["spec"]) for embedding, about in parts
    )


def _of_backbone(embedding: str, spec: Mapping[str, Any]) -> str:
    if "imported" in spec:
        by = spec["imported"].get("backbone")
        return f"{embedding} (imported{f', of {by}' if by else ''})"
    height, width = spec["size"]
    return f"{embedding} of {title_of(spec['backbone'])} at {height} × {width}"


def _validation(facts: Mapping[str, Any], repeats: int) -> str:
    if facts["split"] != "cv":
        return f"fitted on train, tested on {facts['split']}"
    times = f", repeated {repeats} times with other folds" if repeats > 1 else ""
    return f"{folds_in_words(facts['folds'], facts['groups'])}{times}"


def _largest_class(comparison: Comparison, rank: Rank) -> dict[str, Any]:
    """Accuracy of always predicting the largest class, and whether the head is surely better."""
    largest = comparison.largest_class
    return {
        "largest_class": largest.label,
        "largest_share": f"{100 * largest.share:.1f} %",
        "surely_better": comparison.is_surely_better(rank),
    }


# ---- how it was computed


def _origin(analyses: Analyses, rank: Rank) -> dict[str, Any]:
    benchmark = analyses.benchmark
    facts, entry = benchmark.study.facts, analyses.entry(rank).facts
    files = every_file(facts["files"])
    return {
        "commands": [
            *(line for about in files for line in about["provenance"].get("commands", [])),
            *benchmark.commands,
        ],
        "files": [
            {
                "name": about["file"],
                "spec": _shown_spec(about["spec"]),
                "versions": about["provenance"].get("versions", {}),
            }
            for about in files
        ],
        "versions": entry["versions"],
        "study": _study(facts),
        "params": {name: str(value) for name, value in rank.params.items()},
        "chosen": [", ".join(f"{k}={v}" for k, v in each.items()) for each in entry["chosen"]],
        "interval": INTERVALS,
        "head": rank.label,
    }


def _shown_spec(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is known of imported embeddings without the level between."""
    if "imported" not in spec:
        return spec
    names = {"backbone": "stated backbone", "file": "imported from", "digests": "digests of"}
    known = {names.get(key, key): value for key, value in spec["imported"].items()}
    return {"backbone": spec["backbone"], **known}


def _copies(pairs: int) -> str:
    if not pairs:
        return "none"
    return f"{counted(pairs, 'pair')}, each in one fold"


def _study(facts: Mapping[str, Any]) -> dict[str, str]:
    return {
        "images": f"{facts['images']:,}, {facts['tested']:,} of them tested",
        "classes": some_of(facts["classes"], MANY_CLASSES),
        "validation": _validation(facts, 1),
        "seed": str(facts["random_state"]),
        "groups": "none" if facts["groups"] is None else f"{facts['groups']:,}, each in one fold",
        "copies": _copies(facts["copies"]),
    }


def _source_of(images: str | None, provenance: Mapping[str, Any]) -> Source | None:
    """Open the source that the user gives, else that of the embeddings file."""
    if images is not None:
        return open_with_stored_options(images, provenance)
    return open_stored_source(provenance)
