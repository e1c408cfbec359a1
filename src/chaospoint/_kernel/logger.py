"""Our loggers, which a logging configuration does not switch off by accident.

`logging.config.dictConfig` and `fileConfig` disable every logger that they do not name, unless
they are given ``disable_existing_loggers=False``.  What chaospoint injects must be said, so its
loggers stay enabled.  A level or a filter silences them on purpose.
"""

from __future__ import annotations

import logging
from contextlib import suppress

__all__ = ["AUDIT", "LOGGER"]


class _Enabled(logging.Logger):
    """A logger whose ``disabled`` is always False."""

    # The base class has a writable attribute here; writing this property has no effect.
    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        del value


def _enabled(name: str) -> logging.Logger:
    """Return the logger of this name, made one that stays enabled."""
    logger = logging.getLogger(name)
    if not isinstance(logger, _Enabled):
        kind = type(logger)  # the program may have set a class of its own
        with suppress(TypeError):  # and one with slots stays as it is
            logger.__class__ = (
                _Enabled if kind is logging.Logger else type(kind.__name__, (_Enabled, kind), {})
            )
    return logger


LOGGER = _enabled("chaospoint")
AUDIT = _enabled("chaospoint.audit")
