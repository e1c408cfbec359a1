"""The loggers of chaospoint.

They stay enabled when a logging configuration disables every logger that it does not name, which is
the default of `logging.config.dictConfig` and `fileConfig`: what chaospoint injects must be logged.
A level or a filter silences them on purpose.

Where logging is not configured, each line on stderr begins with the name of the logger.
"""

from __future__ import annotations

import logging
from contextlib import suppress

__all__ = ["AUDIT", "LOGGER"]


class _Logger(logging.Logger):
    """A logger that stays enabled and that says its name where no handler formats its lines."""

    # The base class has a writable attribute here; writing this property has no effect.
    disabled = property(lambda _: False, lambda *_: None)  # pyright: ignore[reportAssignmentType]

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802
        # Without a handler, logging's last resort prints the bare message.
        record.msg = record.msg if self.hasHandlers() else f"{self.name}: {record.msg}"
        super().callHandlers(record)


def _logger(name: str) -> logging.Logger:
    """Return the logger of this name, as an instance of `_Logger`."""
    logger = logging.getLogger(name)
    if not isinstance(logger, _Logger):
        kind = type(logger)  # the program may have set a logger class of its own
        with suppress(TypeError):  # a class with slots stays as it is
            logger.__class__ = (
                _Logger if kind is logging.Logger else type(kind.__name__, (_Logger, kind), {})
            )
    return logger


LOGGER = _logger("chaospoint")
AUDIT = _logger("chaospoint.audit")
