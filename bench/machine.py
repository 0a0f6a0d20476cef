"""What a measurement ran on: without it a number means nothing."""

import contextlib
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Hardware and system of a measurement.

    Attributes:
        cpu: Model name of the processor.
        cores: Processors this process may use.
        load: Processes that wanted to run in the last minute, as the system counts them; what is
            above this measurement's own share was competing with it. Nan where unknown.
        system: Operating system and architecture.
        python: Version of Python.
    """

    cpu: str
    cores: int
    load: float
    system: str
    python: str


def this_machine() -> Machine:
    """Describe the machine this runs on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return Machine(_cpu_model(), usable_cores(), load, platform.platform(), _python())


def usable_cores() -> int:
    """Processors that this process may use; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def reset_peak_memory() -> None:
    """Let `peak_memory_mb` count from now; without effect where Linux does not allow it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Most memory that this process held since it started or was reset, in MB; nan if unknown."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def package_versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages by distribution name; those not installed are left out."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # onnxruntime and onnxruntime-gpu exclude each other
            continue
    return versions


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"
