"""Split each test into shares under pytest-xdist, so that its cases run on all workers.

Every share runs the test without faults, and then the cases that belong to it by their ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from zlib import crc32

import pytest

__all__ = ["Share", "multiply", "plain"]

_NAME = "_chaos_share"
_SUFFIX = re.compile(r"(?:\[|-)share\d+of\d+\]$")


@dataclass(frozen=True, slots=True)
class Share:
    """Share ``nth`` (from 0) of the ``of`` shares of a test."""

    nth: int = 0
    of: int = 1

    @classmethod
    def named(cls, item: pytest.Function) -> Self:
        """Return the share of an item; the only one if the test is not split."""
        callspec = getattr(item, "callspec", None)
        share = None if callspec is None else callspec.params.get(_NAME)
        return cls() if share is None else cls(*share)

    def takes(self, case: str) -> bool:
        """Whether a case belongs to this share; only its id decides."""
        return crc32(case.encode()) % self.of == self.nth


def multiply(metafunc: pytest.Metafunc) -> None:
    """Make one share of the test for each worker, unless the run names a parametrized test."""
    if any("[" in arg for arg in metafunc.config.args):
        return  # shares have longer names, so pytest would not find the test
    workers = int(getattr(metafunc.config, "workerinput", {}).get("workercount", 1))
    if workers > 1:  # methods of a TestCase do not get here and stay whole
        metafunc.fixturenames.append(_NAME)
        shares = [(nth, workers) for nth in range(workers)]
        names = [f"share{nth + 1}of{of}" for nth, of in shares]
        metafunc.parametrize(_NAME, shares, ids=names)


def plain(nodeid: str) -> str:
    """Return the id of a test without the share."""
    return _SUFFIX.sub(lambda suffix: "]" if suffix[0][0] == "-" else "", nodeid)
