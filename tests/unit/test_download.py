"""Published weights are looked for in order, downloaded once, checked, and kept.

The network is a small one, and its publisher a server of this process.
"""

import hashlib
import http.server
import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.fakes import publish_at, write_image
from tlfeatures.cli import main
from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones import download, web
from tlfeatures.features.backbones.network import Network
from tlfeatures.features.backbones.record import (
    Backbone,
    Preprocessing,
    PublishedFile,
    PublishedWeights,
    Wheel,
)
from tlfeatures.features.backbones.tensors import identify, random_tensors
from tlfeatures.features.backbones.weights import load_weights
from tlfeatures.features.backbones.weights_file import write_keras_file

NETWORK = Network(
    kernels={"first": (3, 3, 3, 64), "second": (3, 3, 64, 64)}, pools={"second": "pool"}
)
TENSORS = random_tensors(NETWORK, top=False, seed=1)


class Publisher(http.server.BaseHTTPRequestHandler):
    """Answers each request with `content`, or with its first half and then nothing."""

    def do_GET(self):
        server = self.server
        server.requests.append(self.path)
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        if server.stalls:
            self.wfile.write(server.content[: len(server.content) // 2])
            self.wfile.flush()
            server.done.wait(20)
        else:
            self.wfile.write(server.content)

    def log_message(self, *arguments):
        """Write nothing on standard error."""


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch) -> Path:
    """The folder of the package's downloads, and an empty one of Keras; no index has the wheel."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "cache" / "tlfeatures"


@pytest.fixture
def publisher(tmp_path):
    """A server of the file `w.h5`; its attributes say what it answers."""
    write_keras_file(tmp_path / "w.h5", TENSORS)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    server.content = (tmp_path / "w.h5").read_bytes()
    server.requests, server.status, server.stalls = [], 200, False
    server.done = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.done.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def small(publisher) -> Backbone:
    """A record of the small network, whose weights the publisher has."""
    file = PublishedFile(
        f"http://127.0.0.1:{publisher.server_port}/w.h5", hashlib.md5(publisher.content).hexdigest()
    )
    published = PublishedWeights(
        sha256=identify(NETWORK, TENSORS).sha256,
        file=file,
        file_with_top=file,
        credit="drawn at random",
        licence="none",
        reference="",
        reference_url="",
    )
    return Backbone(
        name="small",
        title="Small",
        default_layer="pool",
        preprocessing=Preprocessing(),
        smallest=8,
        shapes=NETWORK.shapes,
        near_duplicate=0.4,
        network=NETWORK,
        published=published,
    )


def kept(folder: Path) -> list[str]:
    """Name the files in a folder that may not exist."""
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_downloaded_once(small, publisher, caches, caplog, capfd):
    with caplog.at_level(logging.INFO, "tlfeatures"):
        first = load_weights(small, "imagenet")
    assert first.sha256 == small.published.sha256
    assert kept(caches) == ["small_imagenet_notop.h5"]
    assert f"downloading {small.published.file.url}" in caplog.text
    assert f"downloaded 100 % of {small.published.file.url}" in caplog.text
    assert load_weights(small, "imagenet").sha256 == first.sha256
    assert publisher.requests == ["/w.h5"]
    assert capfd.readouterr().err == ""


def test_the_command_line_says_what_is_downloaded(caches, tmp_path, monkeypatch):
    write_image(tmp_path / "photos" / "a" / "1.png", 1)
    publish_at(monkeypatch, "http://127.0.0.1:9/")  # refused at once
    arguments = ["extract", tmp_path / "photos", "-o", tmp_path / "x.h5", "--layer", "fc1"]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 1
    assert "downloading http://127.0.0.1:9/vgg16" in result.stderr


def test_keras_own_download_is_used_first(small, publisher, caches, tmp_path):
    models = tmp_path / "keras" / "models"
    write_keras_file(models / "w.h5", TENSORS)
    assert load_weights(small, "imagenet").sha256 == small.published.sha256
    assert publisher.requests == []
    assert kept(caches) == []


def test_another_file_than_the_published_one_is_not_kept(small, publisher, caches):
    publisher.content = publisher.content[:-1] + b"x"
    with pytest.raises(WeightsError, match=r"Keras's download: http://\S+w\.h5: MD5 hash of"):
        load_weights(small, "imagenet")
    assert kept(caches) == []
    assert len(publisher.requests) == 1


def test_a_damaged_file_of_the_cache_is_replaced(small, publisher, caches):
    caches.mkdir(parents=True)
    (caches / "small_imagenet_notop.h5").write_bytes(publisher.content[:1000])
    assert load_weights(small, "imagenet").sha256 == small.published.sha256
    assert (caches / "small_imagenet_notop.h5").read_bytes() == publisher.content


def test_a_host_without_the_file_is_asked_once(small, publisher, caches):
    publisher.status = 404
    with pytest.raises(WeightsError, match=r"w\.h5: 404 Client Error: Not Found"):
        load_weights(small, "imagenet")
    assert len(publisher.requests) == 1
    assert kept(caches) == []


def test_a_host_that_stops_in_the_middle_is_given_up(small, publisher, caches, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", (0.5, 0.5))
    publisher.stalls = True
    with pytest.raises(WeightsError, match=r"w\.h5: timed out") as caught:
        load_weights(small, "imagenet")
    assert "\n" not in str(caught.value)
    assert len(publisher.requests) == 1
    assert kept(caches) == []


def test_the_cache_is_in_the_users_folder_if_that_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert download.cache_folder() == tmp_path / ".cache" / "tlfeatures"
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    assert download.cache_folder() == Path("/tmp/.cache/tlfeatures")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert download.cache_folder() == tmp_path / "cache" / "tlfeatures"


def test_a_backbone_without_published_weights_says_so(small):
    own = replace(small, published=None)
    with pytest.raises(WeightsError, match="Small has no published weights: give --weights PATH"):
        load_weights(own, "imagenet")


def test_sources_are_caches_then_the_publisher_then_the_index(small):
    wheel = Wheel("package==1", "00", "network.onnx")
    published = replace(small.published, wheel=wheel)
    folders = Path("keras"), Path("cache")
    own = Path("cache", "small_imagenet_notop.h5")
    assert download.decide_sources("small", published, *folders, top=False) == [
        download.CachedFile("the Keras cache", Path("keras", "models", "w.h5")),
        download.CachedFile("this package's cache", own),
        download.Download("Keras's download", published.file, own),
        download.PackageIndex("the package index", wheel, own),
    ]
    with_top = download.decide_sources("small", published, *folders, top=True)
    assert [source.path.name for source in with_top] == ["w.h5", *["small_imagenet.h5"] * 2]
