"""The command `extract`: images in, an embeddings file out.

Embeddings that are in the file already are not computed again. If all are, no backbone is loaded.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.weights import checked_source
from tlfeatures.features.calibrate import sample_images
from tlfeatures.features.carry_out import carry_out
from tlfeatures.features.cluster.calls import choose_engine_on, identify_on
from tlfeatures.features.cluster.carry_out import carry_out_on
from tlfeatures.features.cluster.client import Cluster, ThisProcess
from tlfeatures.features.cluster.connect import TLS, connect_if
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines.choose import Request
from tlfeatures.features.extraction import Extraction
from tlfeatures.features.file.lock import exclusive
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.file.shard_folder import remove_orphans
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.images.few_levels import warn_of_few_levels
from tlfeatures.features.images.identify import Manifest, scan
from tlfeatures.features.measure_engines import choose_measured
from tlfeatures.features.plan import Plan, is_relabelled, make_plan
from tlfeatures.features.run import Outcome, provenance_of
from tlfeatures.features.settings import Settings
from tlfeatures.features.sources.folder_hints import folder_hint
from tlfeatures.features.sources.folder_labels import LabelRow, count_labels, count_rows
from tlfeatures.features.sources.folders import EXPECTED
from tlfeatures.features.sources.locations import absolute_location
from tlfeatures.features.sources.open_source import (
    Location,
    Locations,
    labels_of_images,
    name_parts,
    open_source,
    rows_version,
    source_facts,
)
from tlfeatures.features.sources.protocol import Columns, Source
from tlfeatures.features.sources.spelling import describe_similar_names
from tlfeatures.files import check_ending, file_target
from tlfeatures.names import as_list
from tlfeatures.progress import Progress, shown_progress

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client

logger = logging.getLogger(__name__)


def extract(
    source: Locations,
    file: str | os.PathLike[str],
    *,
    images: Location | None = None,
    columns: Columns | None = None,
    backbone: str | None = None,
    layers: str | Sequence[str] = (),
    pools: str | Sequence[str] = (),
    size: int | str | Sequence[int] | None = None,
    weights: str | None = None,
    engine: str | None = None,
    precision: str | None = None,
    dtype: str | None = None,
    augment: int | None = None,
    augment_spec: str | Mapping[str, Any] | None = None,
    value_range: str | Sequence[float] | None = None,
    random_state: int | None = None,
    device: str = "auto",
    batch_size: int | str = "auto",
    max_pixels: int = MAX_PIXELS,
    prune: bool = False,
    trust_mtime: bool = False,
    cluster: str | Client | None = None,
    tls: TLS | None = None,
    shards: str | os.PathLike[str] | None = None,
    command: str | None = None,
    progress: bool | Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Extraction:
    """Embed the images of a source into a file, and compute only what the file lacks.

    Options that are left out keep the values stored in the file. For a new file they have the
    defaults below.

    Parameters
    ----------
    source : path or URL, or sequence of them
        A folder with one subfolder for each class, optionally inside train, val and test; see
        docs/sources.md for tables, archives and others.
    file : path
        The HDF5 file. It is created, or updated if it exists.
    images : path or URL, optional
        Folder that the paths in a table are relative to. The table's own folder if not given.
    columns : mapping of role to column, optional
        Names of the columns of a table, if they aren't the usual ones.
    backbone : str, default `DEFAULT_BACKBONE`
        Name of the frozen network, one of `tlfeatures.features.backbones.table.BACKBONES`, or the
        path of a network of your own: `DECLARATION.json`, or `FILE.onnx` if its declaration is
        `FILE.json` in the same folder.
    layers : str or sequence of str, default the backbone's own
        `LAYER`, pooled by each of `pools`, or `LAYER.POOLING`.
    pools : str or sequence of str, optional
        "avg", "max" or "flatten"; "cls" for tokens. If not given, the poolings of the file, else
        the default of each layer: cls for tokens with a class token, else avg.
    size : int, str or (int, int), optional
        Side, or height and width, in pixels, to which every image is resized. If not given, the
        size of the file, else that of the backbone: the one that its weights were trained on, or
        that its file states, else 224.
    weights : str, default "imagenet"
        "imagenet", "random", or the path of a file of Keras weights. For a network of your own: the
        path of its ONNX file, if it was moved.
    engine : {"auto", "keras", "openvino", "ncnn", "onnxruntime"}
        Library that computes the forward pass. "auto" is the engine of the file, else the fastest
        one that is installed, see `tlfeatures.features.measure_engines`.
    precision : {"auto", "float32", "bfloat16", "int8"}
        Precision of the forward pass. "auto" is that of the file, else float32, or bfloat16 where
        it is faster and the embeddings are nearly the same. int8 needs OpenVINO, and is calibrated
        on a sample of the images.
    dtype : {"float32", "float16"}, default "float32"
        Type of the embeddings in the file.
    augment : int, default 0
        Number of variants of each image. Heads are trained on them besides the images themselves.
    augment_spec : str or mapping, default "rotation=30,zoom=0.2,horizontal_flip"
        How variants are drawn, see `tlfeatures.features.images.augment.Augmentation.parse`.
    value_range : str or (float, float), optional
        The values that become black and white, for images with more than 8 bits a channel:
        "0,4095" for a camera of 12 bits. If not given, the range that each file states, or 0 to
        65,535.
    random_state : int, default 0
        Seed of random weights.
    device : {"auto", "cpu", "gpu"}
        Where the forward pass is computed.
    batch_size : int or "auto"
        Largest number of images and variants of a forward pass. "auto" takes as many as make it
        faster and fit into memory.
    max_pixels : int
        An image with more pixels cannot be read.
    prune : bool
        Delete the rows of removed images, even if more than 10 % of the images are gone.
    trust_mtime : bool
        Do not read the file of a finished image again if its size and modification time are those
        of the last run.
    cluster : str or distributed.Client, optional
        Embed on the workers of this Dask scheduler: its address, or "local" for one on this
        machine. A new file is then a sharded file, whose rows are in shards in a folder next to
        it. All machines must see images and shards under the same paths or URLs.
    tls : TLS, optional
        Certificates for a scheduler whose connections are encrypted.
    shards : path or URL, optional
        Folder into which workers write their shards, `FILE.shards` by default. If it is another
        folder, the rows are copied into the file itself at the end, and the shards are removed.
    command : str, optional
        The command line of the run. It is stored in the file for people to read.
    progress : bool or callable of (done, total), optional
        Counts images. True shows a bar of tqdm, False nothing; a callable is called after each
        batch. By default, a bar is shown where a person watches: in a notebook, and in an
        interactive interpreter.
    stop : callable () -> bool, optional
        Called before each batch. True ends the run, and the same call continues it later.

    Returns
    -------
    Extraction

    Raises
    ------
    ParameterError
        For an option that is out of range; the message names the valid values.
    SourceError
        If there are no images, or none that can be read.
    SpecError
        If the file was made with other settings.
    StoppedError
        If `stop` returned true. The message says how many images are done, and in which file.
    WeightsError
        If the weights cannot be obtained.
    StoreError
        If the file cannot be read or written.

    Examples
    --------
    >>> extract("photos", "photos.h5", layers=["block5_pool"], size=150)  # doctest: +SKIP
    """
    started = time.perf_counter()
    settings = Settings(
        backbone=backbone,
        layers=layers,
        pools=pools,
        size=size,
        weights=weights,
        engine=engine,
        precision=precision,
        dtype=dtype,
        random_state=random_state,
        augment=augment,
        augment_spec=augment_spec,
        value_range=value_range,
    )
    options = ComputeOptions(device, batch_size, max_pixels)
    stop = stop or (lambda: False)
    check_ending(file, "an embeddings file")
    target = file_target(file, "images.h5", Path(file).name)
    if cluster is None and shards is not None:
        raise ParameterError("shards are written by a cluster: give --cluster, too")
    opened = _open(source, images, columns, is_shared=cluster is not None)
    if weights is not None:
        checked_source(weights)  # before a cluster is started and images are hashed
    with (
        exclusive(target),
        connect_if(cluster, tls) as workers,
        shown_progress(progress, "embedding", "images") as show,
    ):
        identities = read_header(target).identified() if trust_mtime and target.exists() else {}
        if workers is None:
            manifest = scan(opened, identities)
            choose = partial(_choose, manifest=manifest, variants=augment or 0, options=options)
        else:
            manifest = identify_on(workers, opened, identities, stop)
            choose = partial(choose_engine_on, workers)
        del identities  # it is as large as the manifest
        if not manifest.images:
            raise opened.no_images_error(EXPECTED)
        plan = make_plan(manifest, target, settings, device, prune, choose)
        labels = labels_of_images(opened, manifest.ids)
        facts = _facts(opened, labels, source, images, columns)
        plan = replace(plan, relabelled=is_relabelled(plan.current, facts))
        provenance = provenance_of(plan, facts, command)
        outcome = _carry_out(workers, plan, provenance, options, show, stop, shards)
    seconds = time.perf_counter() - started
    return _summary(str(file), manifest, labels, plan, outcome, seconds)


def _open(
    source: Locations,
    images: Location | None,
    columns: Columns | None,
    *,
    is_shared: bool,
) -> Source:
    """Open the source; the workers of a cluster need absolute paths."""
    shared = absolute_location if is_shared else (lambda location: location)
    return open_source(
        [shared(location) for location in as_list(source)],
        images=None if images is None else shared(images),
        columns=columns,
    )


def _facts(
    opened: Source,
    labels: Mapping[str, LabelRow] | None,
    source: Locations,
    images: Location | None,
    columns: Columns | None,
) -> dict[str, Any]:
    """Return what the file keeps of its source."""
    parts = name_parts(opened)
    states_labels = labels is not None and parts is None  # else the ids have the labels
    return source_facts(source, images, columns, states_labels, rows_version(opened), parts)


def _carry_out(
    workers: Cluster | None,
    plan: Plan,
    provenance: dict[str, Any],
    options: ComputeOptions,
    show: Progress,
    stop: Callable[[], bool],
    shards: str | os.PathLike[str] | None,
) -> Outcome:
    """Carry out a plan here or on workers; a sharded file stays one."""
    if workers or (plan.current and plan.current.shards):
        callers = workers or ThisProcess()
        return carry_out_on(callers, plan, provenance, options, show, stop, shards)
    outcome = carry_out(plan, provenance, options, show, stop)
    remove_orphans(plan.target)  # shards that a killed merge has left
    return outcome


def _choose(
    request: Request, *, manifest: Manifest, variants: int, options: ComputeOptions
) -> tuple[str, str]:
    """Choose engine and precision for a new file of all images of a folder."""
    images = list(sample_images(manifest))
    return choose_measured(request, images, len(images) * (1 + variants), options)


def _summary(
    file: str,
    manifest: Manifest,
    labels: Mapping[str, LabelRow] | None,
    plan: Plan,
    outcome: Outcome,
    seconds: float,
) -> Extraction:
    """Create the result, and warn of images and folders that may be a mistake."""
    if labels is None:
        classes, splits = count_labels(manifest.ids)
        hint = folder_hint(manifest.ids)
    else:
        classes, splits = count_rows((labels[id_], 1) for id_ in manifest.ids if id_ in labels)
        hint = None
    for warning in (hint, *describe_similar_names("classes", classes)):
        if warning:
            logger.warning("%s", warning)
    few_levels = sorted(outcome.few_levels.items())
    warn_of_few_levels(few_levels)
    spec = plan.spec
    return Extraction(
        file=file,
        images=len(manifest.images),
        computed=outcome.computed,
        reused=outcome.done - outcome.computed,
        failed=[{"id": id_, "reason": why} for id_, why in sorted(outcome.failures.items())],
        removed=plan.removed,
        embeddings=plan.embeddings,
        variants=spec.variants,
        seconds=seconds,
        images_per_second=outcome.passes / seconds,
        weights=spec.weights,
        weights_sha256=spec.weights_sha256,
        precision=spec.precision,
        engine=spec.engine,
        shards=outcome.shards,
        classes=classes,
        splits=splits,
        few_levels=[id_ for id_, _ in few_levels],
    )
