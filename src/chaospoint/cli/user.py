"""The user of the command line."""

from __future__ import annotations

from getpass import getuser

__all__ = ["user"]


def user() -> str:
    """Return the name of the user; empty for one without a name, as containers have."""
    try:
        return getuser()[:60]
    except (OSError, KeyError):
        return ""
