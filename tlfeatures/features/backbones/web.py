"""Files on the web: each is downloaded to a path, its hash is checked, and the log says so."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from tlfeatures.errors import WeightsError

logger = logging.getLogger(__name__)

# Seconds for each address of the host to answer, of which a large host has some sixteen, and for a
# pause in what it sends.
TIMEOUT = (3.0, 30.0)


def download_file(
    url: str, path: Path, *, known_hash: str | None = None, verify: str | bool = True
) -> Path:
    """Download a file.

    Parameters
    ----------
    url : str
    path : Path
        Where it is kept, once it is complete and has the right hash.
    known_hash : str, optional
        `ALGORITHM:HASH` that it must have.
    verify : str or bool
        Path of the certificates that the host's is checked against; True for the usual ones.

    Returns
    -------
    Path

    Raises
    ------
    WeightsError
        If it can't be downloaded, or has another hash.
    """
    import pooch

    shown = re.sub("//[^/@]*@", "//", url)  # without a password
    logger.info("downloading %s", shown)
    pooch.get_logger().setLevel(logging.WARNING)  # this module logs the same itself
    downloader = pooch.HTTPDownloader(
        timeout=TIMEOUT, verify=verify, progressbar=_LoggedProgress(shown)
    )
    try:
        pooch.retrieve(
            url, known_hash=known_hash, fname=path.name, path=path.parent, downloader=downloader
        )
    except (OSError, ValueError) as error:  # of the network or the disk; of another hash
        reason = _first_cause(error).replace(url, shown)
        raise WeightsError(f"{shown}: {reason}") from error
    return path


def _first_cause(error: BaseException) -> str:
    """Give the error at the end of the chain: those before repeat the address and add no reason."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__


class _LoggedProgress:
    """Logs each tenth of a download; has the methods that pooch calls of a progress bar."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._received = self._tenths = 0
        self.total = 0  # bytes; pooch sets it

    def update(self, received: int) -> None:
        """Count more bytes."""
        self._received += received
        tenths = min(10, 10 * self._received // self.total) if self.total else 0
        if tenths > self._tenths:
            self._tenths = tenths
            logger.info("downloaded %d %% of %s", 10 * tenths, self._url)

    def reset(self) -> None:
        """Begin to count again; pooch then counts the whole file."""
        self._received = 0

    def close(self) -> None:
        """Do nothing: a log has no end."""
