"""Describe the machine of a run, without naming a host or a path."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Machine", "busy"]

_PACKAGES = ("chaospoint", "opentelemetry-sdk", "prometheus-client", "pydantic", "wrapt")


@dataclass(frozen=True, slots=True)
class Machine:
    """The interpreter, the processor and the day."""

    python: str
    system: str
    processor: str
    cores: int
    date: str
    packages: dict[str, str]

    @classmethod
    def this(cls) -> Machine:
        """Return the machine that this process runs on."""
        return cls(
            python=f"{platform.python_implementation()} {platform.python_version()}",
            system=f"{platform.system()} {platform.machine()}",
            processor=_processor(),
            cores=os.cpu_count() or 0,
            date=datetime.now(UTC).date().isoformat(),
            packages={name: number for name in _PACKAGES if (number := _version(name))},
        )

    @property
    def minor(self) -> tuple[int, int]:
        """The version of the interpreter, without its patch release."""
        major, minor, *_ = self.python.split()[-1].split(".")
        return int(major), int(minor)

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"{self.python}, {self.system}, {self.processor} ({self.cores} cores), "
            f"{self.date}; {packages}"
        )


def busy() -> str:
    """Return a remark if the machine is busy, and an empty text otherwise."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= cores:
        return ""
    return (
        f"the machine is busy (load {load:.1f} on {cores} cores), so durations and differences are "
        "longer than on a quiet one; ratios hardly change"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown processor"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
