"""Read the environment variables that are needed before chaospoint starts.

Also find ``CHAOSPOINT_*`` variables that have no effect.
"""

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
"""Objects that allow arming, while they are in the set, although the environment forbids it."""


def forbids() -> bool:
    """Whether the environment forbids arming, and `overrides` is empty."""
    return _word() in FALSE and not overrides


def is_set() -> bool:
    """Whether the variable has a value that does not mean false; `start` validates the value."""
    return _word() not in FALSE | {""}


def seed() -> int | None:
    """Return ``CHAOSPOINT_SEED``; None if it is unset or invalid, which `start` reports."""
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
# These two have an effect without a start: `arm` uses the seed, and the command line the URL.
_USED_WITHOUT_START = (PREFIX + "SEED", PREFIX + "URL")


def remind() -> None:
    """Log one WARNING if ``CHAOSPOINT_*`` variables are set but ``CHAOSPOINT_ENABLED`` is not."""
    if os.environ.get(VARIABLE, "").strip():
        return
    others = sorted(name for name in os.environ if name.startswith(PREFIX))
    others = [name for name in others if name not in (VARIABLE, *_USED_WITHOUT_START)]
    if not others:
        return
    import logging

    misspelt = unknown()
    named = [f"{name} ({hint(name)})" if name in misspelt else name for name in others]
    logging.getLogger("chaospoint").warning(
        "%s %s set, but %s is not: chaospoint did not start. Set %s=true to start it, or =false to "
        "silence this warning",
        ", ".join(named),
        "is" if len(named) == 1 else "are",
        VARIABLE,
        VARIABLE,
    )


def unknown() -> list[str]:
    """Return the names of the ``CHAOSPOINT_*`` variables that are set but not known."""
    names = (name for name in os.environ if name.startswith(PREFIX))
    known = {PREFIX + name for name in KNOWN} | {*_USED_WITHOUT_START}
    return sorted(name for name in names if name not in known)


def hint(variable: str) -> str:
    """Suggest a known variable for an unknown one, or list the known ones."""
    from chaospoint._kernel.names import nearest  # seldom needed

    close = nearest(variable.removeprefix(PREFIX), KNOWN)
    return f"did you mean {PREFIX}{close[0]}?" if close else f"known: {', '.join(KNOWN)}"
