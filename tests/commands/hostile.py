"""Files made to harm whoever opens them, by name; none is of any use to anybody."""

import base64
import io
import json
import marshal
import os
import pickle
import shutil
import zipfile
import zlib

import h5py
import joblib
import numpy as np
import skops.io
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import FunctionTransformer

from tests.fakes import members_of, write_members


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def shout(X):
    return X


def hostile_files(site):
    """Every hostile file in `site/hostile`; traps and secrets are in `site/outside`."""
    folder = site / "hostile"
    folder.mkdir()
    (site / "outside").mkdir()
    _secrets(site)
    for make in (_pickles, _keras, _skops, _zips, _archives, _hdf5, _texts):
        for name, data in make(site):
            (folder / name).write_bytes(data)
    with_facts(folder, site / "real.model")
    for make in (_crafted_skops, _truncated):
        for name, data in make(site):
            (folder / name).write_bytes(data)
    return sorted(folder.iterdir())


def _secrets(site):
    outside = site / "outside"
    os.mkfifo(outside / "pipe")  # opening it to read never ends, whoever does it
    shutil.copy(site / "real.h5", outside / "secret.h5")
    (outside / "secret.bin").write_bytes(np.full(4096, 7777.25, "<f4").tobytes())
    (outside / "secret.txt").write_text("TOPSECRET\n")
    (outside / "trap_module.py").write_text(
        f"open({str(outside / 'trap')!r}, 'w')\nclass Trap: pass\n"
    )


def with_facts(folder, model):
    """Give each a twin that claims to be a model, so that the first check doesn't shield others."""
    with zipfile.ZipFile(model) as archive:
        facts = archive.read("tlfeatures.json")
    for path in sorted(folder.iterdir()):
        if path.suffix in (".h5", ".json", ".csv"):
            continue
        twin = path.with_name(f"{path.stem}-facts{path.suffix}")
        shutil.copy(path, twin)
        with zipfile.ZipFile(twin, "a") as archive:  # behind what is no zip, too
            archive.writestr("tlfeatures.json", facts)


def _pickles(site):
    bomb = Bomb(site / "outside" / "trap")
    yield "plain.pkl", pickle.dumps(bomb)
    yield "old.pkl", pickle.dumps(bomb, protocol=0)
    for compress in (0, 3, "gzip", "bz2", "lzma"):
        file = io.BytesIO()
        joblib.dump(bomb, file, compress=compress if isinstance(compress, int) else (compress, 3))
        yield f"{compress}.joblib", file.getvalue()
    array = np.array([bomb], dtype=object)
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    yield "objects.npy", file.getvalue()
    file = io.BytesIO()
    np.savez(file, array)
    yield "objects.npz", file.getvalue()
    yield "code.pyc", b"\0" * 16 + marshal.dumps(compile("import trap_module", "x", "exec"))


def _keras(site):
    trap = site / "outside" / "trap"
    code = marshal.dumps(compile(f"open({str(trap)!r}, 'w')", "x", "exec"))
    value = {"class_name": "__lambda__", "config": {"value": base64.b64encode(code).decode()}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": value}}
    custom = {"module": "os", "class_name": "system", "config": {"command": f"touch '{trap}'"}}
    known = {"module": "trap_module", "class_name": "Trap", "registered_name": "Custom>Trap"}
    for name, part in (("lambda", layer), ("custom", custom), ("registered", known)):
        config = {"class_name": "Sequential", "module": "keras", "config": {"layers": [part]}}
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
            archive.writestr("model.weights.h5", _h5(lambda h: h.create_group("layers")))
        yield f"{name}.keras", file.getvalue()
        whole = _h5(lambda h, c=config: h.attrs.__setitem__("model_config", json.dumps(c)))
        yield f"keras-{name}.h5", whole


def _skops(site):
    yield "function.skops", skops.io.dumps(FunctionTransformer(os.system))
    yield "own-function.skops", skops.io.dumps(FunctionTransformer(shout))
    yield "reader.skops", skops.io.dumps(CountVectorizer(input="filename"))


def _node(way, kind, number=1, module="builtins", **more):
    return {"__loader__": way, "__class__": kind, "__module__": module, "__id__": number, **more}


def _json(value, number):
    return _node("JsonNode", "str", number, content=json.dumps(value), is_json=True)


def _payloads(trap):
    """Descriptions that skops, told to trust them, would make something harmful of."""
    command = _node("TupleNode", "tuple", 2, content=[_json(f"touch '{trap}'", 3)])
    nothing = _node(
        "DictNode", "dict", 4, content={}, key_types=_node("ListNode", "list", 5, content=[])
    )
    system = _node("TypeNode", "system", 6, "os")
    yield "function", _node("FunctionNode", "system", module="os")
    old = {"module_path": "os", "function": "system"}
    yield "old-function", _node("FunctionNode", "system", module="os", content=old)
    yield "type", _node("TypeNode", "Trap", module="trap_module")
    yield "object", _node("ObjectNode", "Trap", module="trap_module")
    yield (
        "loss",
        _node("LossNode", "system", module="os", content=nothing, __reduce__={"args": command}),
    )
    forest = {"content": nothing, "__reduce__": {"args": command}}
    tree = "sklearn.tree._classes"
    yield "called", _node("LossNode", "DecisionTreeClassifier", module=tree, **forest)
    yield (
        "reduced",
        _node("ConstructorFromReduceNode", "Popen", module="subprocess", content=command),
    )
    parts = {"func": system, "args": command, "kwds": nothing, "namespace": nothing}
    yield "partial", _node("PartialNode", "partial", module="functools", content=parts)
    yield "operator", _node("OperatorFuncNode", "methodcaller", module="operator", attrs=command)
    method = {"func": "fit", "obj": _node("ObjectNode", "Pipeline", 7, "sklearn.pipeline")}
    yield "method", _node("MethodNode", "Pipeline", module="sklearn.pipeline", content=method)
    keys = _node("ListNode", "list", 8, content=[system])
    key = f"touch '{trap}'"
    yield "keys", _node("DictNode", "dict", key_types=keys, content={key: _json(1, 9)})
    generator = _node(
        "DictNode", "dict", 10, content={"bit_generator": _json("seed", 11)}, key_types=keys
    )
    seeds = {"bit_generator": generator, "seed_seq": nothing}
    yield (
        "generator",
        _node("RandomGeneratorNode", "Generator", module="numpy.random._generator", content=seeds),
    )
    yield "cached", _node("CachedNode", "None", 12)
    yield "bytes", _node("BytesNode", "bytes", file="../outside/secret.txt")
    yield (
        "sparse",
        _node("SparseMatrixNode", "csr_matrix", 13, "scipy.sparse", type="scipy", file="x"),
    )


def _crafted_skops(site):
    """A real model whose description was changed, facts and arrays and all."""
    members = members_of(site / "real.model")
    schema = members.pop("schema.json")
    for name, node in _payloads(site / "outside" / "trap"):
        protocols = (0, 2) if name in ("old-function", "generator") else (2,)
        for protocol in protocols:
            yield (
                f"{name}-{protocol}.skops",
                _zip(members, json.dumps({**node, "protocol": protocol})),
            )
        deep = json.loads(schema)
        _classifier(deep)["content"]["content"]["random_state"] = node
        yield f"{name}-deep.skops", _zip(members, json.dumps(deep))
    yield "no-schema.skops", _zip(members, None)
    yield "nested.skops", _zip(members, '{"content": [' * 100_000)
    for protocol in (-1, 99, True, "2", None):
        found = json.dumps({**json.loads(schema), "protocol": protocol})
        yield f"protocol-{protocol}.skops", _zip(members, found)
    file = io.BytesIO()
    np.save(file, np.array([Bomb(site / "outside" / "trap")], dtype=object), allow_pickle=True)
    for name in members:
        if name.endswith(".npy"):
            pickled = {**members, name: file.getvalue()}
            yield f"pickle-in-{name.replace('/', '-')}.skops", _zip(pickled, schema)
    facts = json.loads(members["tlfeatures.json"])
    nested = members | {"tlfeatures.json": b"[" * 100_000}
    yield "nested-facts.skops", _zip(nested, schema)
    strange = {
        "classes": [[1], {}],
        "columns": 10**30,
        "images": -1,
        "versions": {"scikit-learn": []},
    }
    for name, value in strange.items():
        changed = members | {"tlfeatures.json": json.dumps({**facts, name: value}).encode()}
        yield f"facts-{name}.skops", _zip(changed, schema)


def _classifier(schema):
    steps = schema["content"]["content"]["steps"]["content"]
    return steps[-1]["content"][1]


def _zip(members, schema):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        if schema is not None:
            archive.writestr("schema.json", schema)
    return file.getvalue()


def _zips(site):
    outside = str(site / "outside" / "trap")
    for name, member in {
        "parent": "../outside/trap",
        "absolute": outside,
        "backslash": "..\\outside\\trap",
        "drive": "C:\\outside\\trap",
    }.items():
        yield f"{name}.zip", _zip({member: b"x"}, None)
    link = zipfile.ZipInfo("schema.json")
    link.external_attr = 0o120777 << 16  # a symbolic link, for those who unpack it
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, outside)
    yield "link.zip", file.getvalue()
    yield "bomb.zip", _zip({f"{i}.npy": bytes(40_000_000) for i in range(2)}, "{}")


def _archives(site):
    """The study and the entry of a real benchmark, changed."""
    (entry,) = (site / "bench" / "entries").iterdir()
    bomb = io.BytesIO()
    np.save(bomb, np.array([Bomb(site / "outside" / "trap")], object), allow_pickle=True)
    for kind, path in (("study", site / "bench" / "study.npz"), ("entry", entry)):
        members = members_of(path)
        facts = json.loads(members["facts.json"])
        for name in members.keys() - {"facts.json"}:
            pickled = {**members, name: bomb.getvalue()}
            yield f"{kind}-pickle-{name}.npz", _stored(pickled)
            head, _, values = members[name].partition(b"'shape': (")
            many = head + b"'shape': (9" + b"9" * 12 + values[values.index(b",") :]
            yield f"{kind}-huge-{name}.npz", _stored({**members, name: many})
        yield f"{kind}-nested.npz", _stored({**members, "facts.json": b"[" * 100_000})
        yield f"{kind}-more.npz", _stored({**members, "../../outside/trap": b"x"})
        yield f"{kind}-packed.npz", _zip(members, None)
        strange = json.dumps({**facts, "ids": [["x"]] * 24, "entry": {"key": "../../x"}})
        yield f"{kind}-strange.npz", _stored({**members, "facts.json": strange})


def _stored(members):
    file = io.BytesIO()
    write_members(file, members)
    return file.getvalue()


def _h5(fill, **options):
    file = io.BytesIO()
    with h5py.File(file, "w", **options) as h:
        fill(h)
    return file.getvalue()


def _hdf5(site):
    real = (site / "real.h5").read_bytes()
    outside = site / "outside"
    targets = {
        "secret": outside / "secret.h5",
        "pipe": outside / "pipe",
        "up": "../outside/secret.h5",
    }
    new = ("stat", "properties", "checksums", "checksums/embeddings/grid4.flatten")
    for at in ("embeddings", "embeddings/grid4.flatten", "ids", "digest", "done", "reason", *new):
        for name, target in targets.items():
            yield (
                f"external-{name}-{at.replace('/', '-')}.h5",
                _changed(
                    real,
                    at,
                    lambda h, at=at, t=target: h.__setitem__(at, h5py.ExternalLink(str(t), at)),
                ),
            )
        yield (
            f"soft-{at.replace('/', '-')}.h5",
            _changed(real, at, lambda h, at=at: h.__setitem__(at, h5py.SoftLink("/x"))),
        )
    for at, name in (
        ("embeddings/grid4.flatten", "pipe"),
        ("embeddings/grid4.flatten", "secret.h5"),
    ):
        yield f"virtual-{name}", _changed(real, at, lambda h, n=name: _virtual(h, str(outside / n)))
    for name in ("pipe", "secret.bin"):
        yield (
            f"raw-{name}.h5",
            _changed(real, "embeddings/grid4.flatten", lambda h, n=name: _raw(h, str(outside / n))),
        )
    # As weights, the same ways out stand where a kernel should.
    for name, fill in {
        "link": lambda h: h.__setitem__(
            "block1_conv1", h5py.ExternalLink(str(outside / "pipe"), "/")
        ),
        "virtual": lambda h: _virtual(h, str(outside / "pipe"), "block1_conv1/W", (3, 3, 3, 64)),
        "raw": lambda h: _raw(h, str(outside / "pipe"), "block1_conv1/W", (3, 3, 3, 64)),
        "text": lambda h: h.create_dataset("block1_conv1/W", data=np.full((3, 3, 3, 64), b"x")),
    }.items():
        yield f"weights-{name}.h5", _h5(fill)
    yield (
        "huge.h5",
        _changed(
            real, "reason", lambda h: h.create_dataset("reason", (10**13,), "S160", chunks=(999,))
        ),
    )
    yield (
        "user-block.h5",
        b"PK\3\4" + _h5(lambda h: h.attrs.__setitem__("format", "x"), userblock_size=512)[4:],
    )
    for name in ("format", "format_version", "spec", "provenance"):
        for kind, value in (("array", [1, 2]), ("nested", "[" * 50_000), ("list", "[1]")):
            yield (
                f"{name}-{kind}.h5",
                _changed(real, None, lambda h, n=name, v=value: h.attrs.__setitem__(n, v)),
            )


def _changed(real, gone, fill):
    file = io.BytesIO(real)
    with h5py.File(file, "r+") as h:
        if gone is not None:
            del h[gone]
        fill(h)
    return file.getvalue()


def _virtual(h, path, at="embeddings/grid4.flatten", shape=(24, 48)):
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource(path, "embeddings/grid4.flatten", shape)
    h.create_virtual_dataset(at, layout)


def _raw(h, path, at="embeddings/grid4.flatten", shape=(24, 48)):
    h.create_dataset(at, shape, "f4", external=[(path, 0, h5py.h5f.UNLIMITED)])


def _texts(site):
    trap = str(site / "outside" / "trap")
    yield (
        "script.eps",
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({trap}) (w) file\n".encode(),
    )
    yield "empty.model", b""
    yield "nested.json", b"[" * 100_000
    results = json.loads((site / "bench" / "results.json").read_text())
    for name, change in {
        "heads": {"heads": [{"key": "x", "head": "trap_module:Trap"}]},
        "file": {"file": str(site / "outside" / "secret.txt"), "files": {}},
        "version": {"format_version": [1]},
        "list": {"ranking": [[]]},
        "key": {"heads": [{**results["heads"][0], "key": "../../../outside/secret"}]},
    }.items():
        yield f"results-{name}.json", json.dumps({**results, **change}).encode()
    yield "nul.csv", b"id,label\0\n\0,\xff\n"
    yield "wide.csv", b"id,label\n" + b"x" * 200_000 + b",a\n"
    yield "compressed.bin", zlib.compress(b"x" * 1000)


def _truncated(site):
    for name in ("real.h5", "real.model"):
        data = (site / name).read_bytes()
        for part in (10, 50, 97):
            yield f"{part}-percent-{name}", data[: len(data) * part // 100]
