"""What this machine has: its processor, the cores that may be used, GPU drivers, free disk space.

Only files of the operating system and environment variables are read. Each function raises what its
source raises: `tlfeatures.features.doctor` turns that into a reason.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

# Instructions that decide how fast an engine is, in the words of /proc/cpuinfo and for people.
_INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimd": "NEON",
    "i8mm": "I8MM",
    "bf16": "BF16",
}
_DRIVERS = {"/dev/nvidiactl": "NVIDIA", "/dev/kfd": "AMD", "/dev/dxg": "Windows"}


@dataclass(frozen=True)
class Processor:
    """The CPU.

    Attributes
    ----------
    model : str
    architecture : str
        Such as `x86_64`.
    instructions : tuple of str or None
        Those that decide how fast an engine is, such as `AVX512-BF16`; None if the system doesn't
        list them.
    """

    model: str
    architecture: str
    instructions: tuple[str, ...] | None


@dataclass(frozen=True)
class Cores:
    """How many cores there are, and what limits their use.

    Attributes
    ----------
    installed : int
    usable : int
        Number of threads that an engine starts unless it is told otherwise.
    allowed : int
        Number of cores on which this process may run (its affinity).
    quota : float or None
        Number of cores whose time the control group of a container may use; None without a limit.
    variables : dict of str to str
        Environment variables that are set and limit threads.
    """

    installed: int
    usable: int
    allowed: int
    quota: float | None
    variables: dict[str, str]


@dataclass(frozen=True)
class Disk:
    """The disk of a folder.

    Attributes
    ----------
    folder : str
    free : int
        Bytes.
    writable : bool
        Whether the folder can be written, or created.
    """

    folder: str
    free: int
    writable: bool


_CPUINFO = Path("/proc/cpuinfo")
_CONTROL_GROUP = Path("/sys/fs/cgroup")  # of a container, where joblib looks for it, too


def find_processor(cpuinfo: Path = _CPUINFO) -> Processor:
    """Describe the CPU, from the file in which Linux lists its facts."""
    architecture = platform.machine()
    try:
        facts = _facts_in(cpuinfo)
    except OSError:  # not Linux
        return Processor(platform.processor() or architecture, architecture, None)
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    model = facts.get("model name") or platform.processor() or architecture
    names = tuple(name for flag, name in _INSTRUCTIONS.items() if flag in flags)
    return Processor(model, architecture, names)


def _facts_in(cpuinfo: Path) -> dict[str, str]:
    """Read the facts of the first core."""
    first, _, _ = cpuinfo.read_text(errors="replace").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


_LIMITING = ("LOKY_MAX_CPU_COUNT", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def count_cores(control_group: Path = _CONTROL_GROUP) -> Cores:
    """Count the cores and those that this process may use, and find what limits them."""
    import joblib

    installed = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed
    variables = {name: os.environ[name] for name in _LIMITING if os.environ.get(name)}
    return Cores(installed, joblib.cpu_count(), allowed, _quota(control_group), variables)


def _quota(folder: Path) -> float | None:
    """Read the limit in version 2 of control groups, else in version 1."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return int(quota) / int(period)


def gpu_drivers() -> tuple[str, ...]:
    """Name the makers whose GPU drivers Linux has loaded."""
    return tuple(maker for path, maker in _DRIVERS.items() if Path(path).exists())


def gpu_models() -> tuple[str, ...]:
    """Name the GPUs that NVIDIA's driver lists."""
    models = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in file.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model":
                models.append(value.strip())
    return tuple(models)


def find_disk(folder: Path) -> Disk:
    """Describe the disk of a folder that may not exist yet."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    return Disk(str(folder), shutil.disk_usage(existing).free, writable)
