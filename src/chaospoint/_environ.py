"""The variables that matter before anything is started, and which are set in vain."""

from __future__ import annotations

import os

__all__ = [
    "FALSE",
    "KNOWN",
    "PREFIX",
    "VARIABLE",
    "forbids",
    "hint",
    "is_set",
    "overrides",
    "remind",
    "seed",
    "unknown",
]


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


PREFIX = "CHAOSPOINT_"
KNOWN = (
    "ENABLED",
    "ENVIRONMENT",
    "ALLOWED_ENVIRONMENTS",
    "CONFIG",
    "STORE",
    "SEED",
    "ADMIN",
    "ADMIN_TOKEN",
    "ADMIN_READ_TOKEN",
    "AUDIT_LOG",
    "POINTS",
    "MAX_LATENCY",
    "MAX_HANG",
    "MAX_EXPIRES_AFTER",
    "FORBIDDEN_POINTS",
    "FORBIDDEN_KINDS",
    "SECRET_ARGUMENTS",
)
# Code that arms obeys the one, the command line the other: nothing needs to be started for them.
_NO_REASON = (PREFIX + "SEED", PREFIX + "URL")


def remind() -> None:
    """Log one WARNING if variables of chaospoint are set, but not ``CHAOSPOINT_ENABLED``."""
    if os.environ.get(VARIABLE, "").strip():
        return
    others = sorted(name for name in os.environ if name.startswith(PREFIX))
    others = [name for name in others if name not in (VARIABLE, *_NO_REASON)]
    if not others:
        return
    import logging

    wrong = unknown()
    named = [f"{name} ({hint(name)})" if name in wrong else name for name in others]
    logging.getLogger("chaospoint").warning(
        "%s %s set, but %s is not: chaospoint did not start. Set %s=true to start it, or =false to "
        "silence this warning",
        ", ".join(named),
        "is" if len(named) == 1 else "are",
        VARIABLE,
        VARIABLE,
    )


def unknown() -> list[str]:
    """Return the variables that look like those of chaospoint and are unknown."""
    names = (name for name in os.environ if name.startswith(PREFIX))
    known = {PREFIX + name for name in KNOWN} | {*_NO_REASON}
    return sorted(name for name in names if name not in known)


def hint(variable: str) -> str:
    """Return which variable an unknown one may have been meant to be."""
    from chaospoint._kernel.names import nearest  # seldom needed

    close = nearest(variable.removeprefix(PREFIX), KNOWN)
    return f"did you mean {PREFIX}{close[0]}?" if close else f"known: {', '.join(KNOWN)}"
