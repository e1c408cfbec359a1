"""Under xdist each test is multiplied into shares, so that its cases run on all workers.

Every share learns anew and runs the cases whose ids fall to it.
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
    """One of ``of`` shares of a test, from 0."""

    nth: int = 0
    of: int = 1

    @classmethod
    def named(cls, item: pytest.Function) -> Self:
        """Return the share that an item is."""
        callspec = getattr(item, "callspec", None)
        found = None if callspec is None else callspec.params.get(_NAME)
        return cls() if found is None else cls(*found)

    def takes(self, case: str) -> bool:
        """Whether a case falls to this share: by its id, whatever else its run has."""
        return crc32(case.encode()) % self.of == self.nth


def multiply(metafunc: pytest.Metafunc) -> None:
    """Make a share of the test for each worker, unless its whole name was asked for."""
    if any("[" in arg for arg in metafunc.config.args):
        return  # the shares have longer names, and would not be found
    workers = int(getattr(metafunc.config, "workerinput", {}).get("workercount", 1))
    if workers > 1:  # a method of a TestCase does not come here: it stays whole
        metafunc.fixturenames.append(_NAME)
        shares = [(nth, workers) for nth in range(workers)]
        names = [f"share{nth + 1}of{of}" for nth, of in shares]
        metafunc.parametrize(_NAME, shares, ids=names)


def plain(nodeid: str) -> str:
    """Return the id of the test that an item is, or is a share of."""
    return _SUFFIX.sub(lambda found: "]" if found[0][0] == "-" else "", nodeid)
