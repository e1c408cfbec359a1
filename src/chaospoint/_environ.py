"""The variables that matter before anything is started; the rest is read when starting."""

from __future__ import annotations

import os

__all__ = ["FALSE", "VARIABLE", "forbids", "is_set", "overrides", "seed"]

VARIABLE = "CHAOSPOINT_ENABLED"
FALSE = frozenset({"false", "no", "off", "0"})


def _word() -> str:
    return os.environ.get(VARIABLE, "").strip().lower()


overrides: set[object] = set()
"""What was started although the environment says that nothing may be armed."""


def forbids() -> bool:
    """Whether the environment says that nothing may be armed, and nothing overrides it."""
    return _word() in FALSE and not overrides


def is_set() -> bool:
    """Whether the environment says anything but no; what it says is judged when starting."""
    return _word() not in FALSE | {""}


def seed() -> int | None:
    """Return ``CHAOSPOINT_SEED``, or None if it is unset or no seed, which starting says."""
    word = os.environ.get("CHAOSPOINT_SEED", "").strip()
    return int(word) if word.isascii() and word.isdigit() and int(word) < 2**63 else None
