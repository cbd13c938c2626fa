"""The sections of a model card on its backbones: their settings and their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.declaration import has_unknown_format
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.backbones.weights import IMAGENET
from tlfeatures.models.backbone_facts import plain_backbones
from tlfeatures.models.markdown import escaped, table_lines

Facts = Mapping[str, Any]


def settings_lines(facts: Facts) -> Iterator[str]:
    """Write the settings of each backbone as a table."""
    for place, part in enumerate(plain_backbones(facts)):
        if place:
            yield ""
        yield from _spec_of(part["spec"], part["embedding"])
    if facts.get("joined"):
        yield ""
        yield (
            "Each part of the embedding is scaled to length 1. The parts are then put side by side "
            "in this order."
        )


def _spec_of(spec: Facts, embedding: str) -> Iterator[str]:
    if "imported" in spec:
        yield from _imported_settings(spec["imported"], embedding)
        return
    settings = {
        "backbone": spec["backbone"],
        "embedding": embedding,
        "size": f"{_shape(spec['size'])} pixels (height x width)",
        **{
            key: spec[key]
            for key in ("resize", "crop", "color", "orientation", "alpha", "preprocessing")
        },
        **_declared_settings(spec),
        "precision": spec["precision"],
        **({"value range": _value_range(spec)} if spec.get("value_range") else {}),
        **({"engine": spec["engine"]} if "engine" in spec else {}),
    }
    yield from table_lines(["setting", "value"], list(settings.items()))


def _imported_settings(imported: Facts, embedding: str) -> Iterator[str]:
    """Write what is known of embeddings that another program has computed."""
    yield (
        "The embeddings were computed by another program and imported. Size, preprocessing and "
        "weights are not known. To label other images, compute their embeddings by the same "
        "program, and give its features file to `tlfeatures predict`."
    )
    yield ""
    settings = {"embedding": embedding}
    settings |= {title: imported[key] for key, title in _STATED.items() if key in imported}
    yield from table_lines(["setting", "value"], list(settings.items()))


_STATED = {
    "backbone": "network, as stated by the user",
    "file": "imported from",
    "sha256": "sha256 of this file",
    "note": "note",
}


def _declared_settings(spec: Facts) -> dict[str, str]:
    """Return what the declaration of a network says about its layers."""
    declaration = _known_declaration(spec)
    return {
        f"layer {output['layer']}": f"tensor {output['tensor']}, {_shape(output['shape'])}"
        for output in (declaration["outputs"] if declaration else ())
    }


def _known_declaration(spec: Facts) -> Facts | None:
    """Return the declaration; None without one, or if it is in the format of a newer version."""
    declaration: Facts | None = spec.get("declaration")
    return None if has_unknown_format(declaration) else declaration


def _shape(numbers: Sequence[int]) -> str:
    """Write the numbers of a shape as in "7 x 7 x 512"."""
    return " x ".join(map(str, numbers))


def _value_range(spec: Facts) -> str:
    low, high = spec["value_range"]
    return f"{low:.10g} is black and {high:.10g} white, in images with more than 8 bits per channel"


def weights_lines(facts: Facts) -> Iterator[str]:
    """Write the licence, the source and the hash of the weights of each backbone."""
    for place, part in enumerate(plain_backbones(facts)):
        if place:
            yield ""
        if part["name"]:
            yield f"### {escaped(part['name'])}"
            yield ""
        yield from _weights(part["spec"])


def _weights(spec: Facts) -> Iterator[str]:
    if "imported" in spec:
        yield "Not known, as the embeddings were imported; neither is their licence."
        return
    sha256 = spec["weights_sha256"]
    backbone, declaration = BACKBONES.get(spec["backbone"]), _known_declaration(spec)
    if sha256 is None:
        yield f"The backbone {escaped(spec['backbone'])} has no weights."
        return
    if spec["weights"] == "random":
        yield (
            f"RANDOM (seed {spec['random_state']}): the backbone has learned nothing from ImageNet."
        )
    elif backbone is not None and backbone.is_published(sha256):
        yield f"{backbone.credit(link=True)}."
    elif _is_named(spec, declaration):
        yield f"{NAMED[spec['backbone']].title}. {_source_and_licence(spec['declaration'])}."
    elif declaration is not None and declaration["format"] == "keras_hub":
        yield f"An encoder of images of keras_hub. {_source_and_licence(declaration)}."
    elif declaration is not None and declaration["format"] in ("onnx", "keras_file"):
        yield (
            "A network of the user's own. This program doesn't check what they declared. "
            f"{_source_and_licence(declaration)}."
        )
    else:
        yield "The weights come from a file; this program doesn't know their licence."
    yield ""
    if declaration is not None:
        yield f"{_check_vector(declaration['check'])}."
        yield ""
    yield f"sha256 of {_hashed(spec, declaration)}: `{sha256}`"
    if spec["top_sha256"]:
        yield ""
        yield (
            "sha256 of the fully connected tensors, whose origin this program doesn't know: "
            f"`{spec['top_sha256']}`"
        )


def _is_named(spec: Facts, declaration: Facts | None) -> bool:
    """Whether these are the weights whose source and licence the catalogue states."""
    network = NAMED.get(spec["backbone"])
    if network is None or declaration is None:
        return False
    if network.recipe is not None:
        return bool(spec["weights_sha256"] == network.recipe.onnx_sha256)
    return bool(spec["weights"] == IMAGENET)


def _source_and_licence(declaration: Facts) -> str:
    stated = {key: escaped(declaration[key]) or "not stated" for key in ("source", "licence")}
    return f"Source: {stated['source']}; licence: {stated['licence']}"


def _check_vector(check: Facts | None) -> str:
    if check is None:
        return "It has no check vector: wrong colours, mean or standard deviation are not noticed"
    return (
        f"Its check vector is verified whenever it is loaded: norm {check['norm']:.6g} of "
        f"{escaped(check['layer'])}, for the check image at {_shape(check['size'])} pixels"
    )


def _hashed(spec: Facts, declaration: Facts | None) -> str:
    """Name what the hash of the weights is computed from."""
    if declaration is None:
        return "the weights" if spec.get("declaration") else "the convolution tensors"
    return {"onnx": "the ONNX file", "keras_file": "the .keras file"}.get(
        declaration["format"], "the weights"
    )
