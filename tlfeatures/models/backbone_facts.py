"""The backbones of a model in the facts of its file.

A model of one backbone has the fact ``spec``. A model of several backbones has ``spec`` null and
the fact ``joined``: a list with ``name``, ``spec`` and ``embedding`` of each backbone, in the order
of the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlfeatures.errors import FormatError, ParameterError, SpecError
from tlfeatures.features.combined import BackbonePart, joined_name
from tlfeatures.features.spec import Spec


def backbone_facts(
    spec: Spec | None, joined: Sequence[BackbonePart], embedding: str
) -> dict[str, Any]:
    """Return the facts of the backbones of a model."""
    facts: dict[str, Any] = {
        "spec": None if spec is None else spec.to_dict(),
        "embedding": embedding,
    }
    if joined:
        facts["joined"] = [
            {"name": part.name, "spec": part.spec.to_dict(), "embedding": part.embedding}
            for part in joined
        ]
    return facts


def plain_backbones(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return name, spec and embedding of each backbone, as plain data.

    Parameters
    ----------
    facts : mapping
        Facts of a model file, or of an embeddings file.
    """
    only = {"name": "", "spec": facts["spec"], "embedding": facts.get("embedding", "")}
    return facts.get("joined") or [only]


def pop_backbones(
    facts: dict[str, Any],
) -> tuple[Spec | None, tuple[BackbonePart, ...], str]:
    """Remove the facts of the backbones, and return spec, joined parts and embedding.

    Raises
    ------
    FormatError
        See `check_backbones`.
    """
    parts = check_backbones(facts)
    joined, embedding = facts.pop("joined", None), facts.pop("embedding")
    del facts["spec"]
    return (parts[0].spec, (), embedding) if joined is None else (None, tuple(parts), embedding)


def check_backbones(facts: Mapping[str, Any]) -> list[BackbonePart]:
    """Return the backbones of a model file, after a check.

    Raises
    ------
    FormatError
        If a spec can't be read, or the backbones are not those of the embedding.
    """
    several = "joined" in facts
    if (facts["spec"] is None) != several:
        raise FormatError("it has neither one spec nor several backbones, or both")
    parts = [
        BackbonePart(part["name"], Spec.from_dict(part["spec"]), part["embedding"])
        for part in plain_backbones(facts)
    ]
    names = {part.name for part in parts}
    if several and (len(parts) < 2 or len(names) < len(parts) or "" in names):
        raise FormatError("its backbones have no different names")
    try:
        name = joined_name(parts)
    except ParameterError as error:
        raise FormatError(f"its backbones have wrong embeddings: {error}") from error
    if name != facts["embedding"]:
        raise FormatError(f"its backbones give the embedding {name[:80]}, not its own")
    return parts


def check_same_settings(spec: Spec, wanted: Spec, file: str, remedy: str) -> None:
    """Check that embeddings were computed with the settings that a model expects.

    Engines are not compared, because they differ only in rounding. (int8 differs more, but only one
    engine has int8.)

    Parameters
    ----------
    spec, wanted : Spec
        Settings of the embeddings, and of the model's backbone.
    file : str
        File of the embeddings.
    remedy : str
        What to do, for the message.

    Raises
    ------
    SpecError
        If a setting is different.
    """
    differences = [item for item in spec.differences(wanted) if item[0] != "engine"]
    if not differences:
        return
    name, theirs, ours = differences[0]
    if name == "quantization":  # its ranges would fill the screen
        theirs, ours = "of other images", "of its own images"
    raise SpecError(
        f"{file} was computed with {name} {theirs}, but the model expects {ours}; {remedy}"
    )
