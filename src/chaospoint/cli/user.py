"""The user who runs the command line."""

from __future__ import annotations

from getpass import getuser

__all__ = ["user"]


def user() -> str:
    """Return the user's name, or an empty text if the system has none, as in some containers."""
    try:
        return getuser()[:60]
    except (OSError, KeyError):
        return ""
