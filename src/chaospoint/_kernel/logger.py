"""The loggers of chaospoint.

`logging.config.dictConfig` and `fileConfig` disable every existing logger that they do not name,
unless ``disable_existing_loggers=False`` is passed.  Injections must appear in the log, so these
loggers stay enabled.  Use a level or a filter to silence them.

If logging is not configured, each line on stderr names the logger: it begins with it, unless the
message begins with "chaospoint" anyway.
"""

from __future__ import annotations

import logging
from contextlib import suppress

__all__ = ["AUDIT", "LOGGER"]


class _Logger(logging.Logger):
    """A logger that stays enabled, and adds its name to lines that no handler formats."""

    # An attribute in the base class; here assignments have no effect.
    disabled = property(lambda _: False, lambda *_: None)  # pyright: ignore[reportAssignmentType]

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802
        # Without a handler, `logging.lastResort` prints only the message.
        if not self.hasHandlers() and not str(record.msg).startswith("chaospoint "):
            record.msg = f"{self.name}: {record.msg}"
        super().callHandlers(record)


def _logger(name: str) -> logging.Logger:
    """Return the logger of this name, as an instance of `_Logger`."""
    logger = logging.getLogger(name)
    if not isinstance(logger, _Logger):
        kind = type(logger)  # the program may have set a logger class of its own
        with suppress(TypeError):  # a class with slots cannot be replaced
            logger.__class__ = (
                _Logger if kind is logging.Logger else type(kind.__name__, (_Logger, kind), {})
            )
    return logger


LOGGER = _logger("chaospoint")
AUDIT = _logger("chaospoint.audit")
