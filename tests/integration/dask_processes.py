"""A scheduler and workers of Dask: real processes on loopback, to be killed at will."""

from __future__ import annotations

import datetime
import ipaddress
import re
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.forked import Forked
from tlfeatures.features.cluster.connect import TLS

PATIENCE = 120.0  # seconds until a process that says nothing is taken for broken


class DaskProcesses:
    """A scheduler, and as many workers as are started; all are killed at the end.

    Each is the command `dask scheduler` or `dask worker`. It leads a process group, so that a nanny
    goes with its worker.

    Parameters
    ----------
    folder : Path
        Where they write what they say, and what the workers spill.
    tls : TLS, optional
        Certificates of all of them.
    env : dict, optional
        More variables of the scheduler's environment.
    """

    def __init__(
        self, folder: Path, tls: TLS | None = None, env: dict[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._tls = tls
        self._env = env
        self._processes: list[Forked] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self.start_scheduler()
        except BaseException:
            self._kill_all()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill_all()

    def start_scheduler(self, port: int = 0) -> None:
        """Start it, and wait until it listens; at any free port, or at the one it had before."""
        protocol = "tcp" if self._tls is None else "tls"
        where = ["--host", "127.0.0.1", "--port", str(port), "--protocol", protocol]
        self._scheduler = self._start("scheduler", *where, env=self._env)
        self.address = self._said(self._scheduler, r"Scheduler at:\s+(\S+)")

    def start_worker(self, *options: str, env: dict[str, str] | None = None) -> Forked:
        """Start a worker of one thread, and wait until the scheduler knows it."""
        usual = [self.address, "--host", "127.0.0.1", "--local-directory", str(self._folder)]
        worker = self._start("worker", *usual, "--nthreads", "1", *options, env=env)
        self._said(worker, r"Registered to:\s+(\S+)")
        return worker

    def kill(self, process: Forked) -> None:
        """Kill -9 a worker or the scheduler, and all that it started."""
        process.kill()
        self._processes.remove(process)

    def kill_scheduler(self) -> None:
        """Kill -9 the scheduler."""
        self.kill(self._scheduler)

    def _start(self, what: str, *options: str, env: dict[str, str] | None = None) -> Forked:
        given = ["--no-dashboard", *self._certificates(), *options]
        process = Forked(f"distributed.cli.dask_{what}", given, self._folder, env)
        self._processes.append(process)
        return process

    def _certificates(self) -> list[str]:
        if self._tls is None:
            return []
        tls = self._tls
        files = {"--tls-ca-file": tls.ca_file, "--tls-cert": tls.cert, "--tls-key": tls.key}
        return [str(part) for pair in files.items() for part in pair]

    def _said(self, process: Forked, pattern: str) -> str:
        """Wait until a process says this."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and process.poll() is None:
            found = re.search(pattern, process.err)
            if found:
                return found[1]
            time.sleep(0.02)
        raise RuntimeError(f"{process.arguments} didn't say {pattern!r}:\n{process.err}")

    def _kill_all(self) -> None:
        for process in list(self._processes):
            self.kill(process)


def make_certificates(folder: Path) -> TLS:
    """Make an authority, and one certificate of 127.0.0.1 for scheduler, workers and clients."""
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signs_others = x509.BasicConstraints(ca=True, path_length=None)
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    issued = _certificate("authority", authority, authority, signs_others)
    own = _certificate("all", key, authority, loopback)
    (folder / "ca.pem").write_bytes(issued.public_bytes(pem))
    (folder / "cert.pem").write_bytes(own.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *private))
    return TLS(*(str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem")))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(_named("authority"), _named(name), key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        .sign(authority, hashes.SHA256())
    )


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
