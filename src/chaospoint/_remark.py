"""Where a remark goes: what code armed is warned of, what came from outside is logged."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType

from chaospoint._inside import set_safely, transparently
from chaospoint.errors import ChaosWarning

__all__ = ["located", "remark"]

_HERE = str(Path(__file__).parent) + os.sep


_place: ContextVar[tuple[str, int] | None] = ContextVar("chaospoint_remark_place", default=None)


@contextmanager
def located(filename: str, line: int) -> Iterator[None]:
    """Have warnings belong to this line, where another one arms for it."""
    before = _place.get()
    try:
        set_safely(_place, (filename, line))
        yield
    finally:
        set_safely(_place, before)


def remark(text: str, source: str) -> None:
    """Say ``text`` to whoever armed from ``source``."""
    transparently(_say, text, source)  # handlers, and what shows warnings, are foreign code


def _say(text: str, source: str) -> None:
    if source not in ("code", "test"):
        logging.getLogger("chaospoint").warning("%s (armed by %s)", text, source)
        return
    if (place := _place.get()) is not None:
        warnings.warn_explicit(text, ChaosWarning, *place)
        return
    # The warning belongs to the line that armed, however many frames of ours lie between.
    depth = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        depth += 1
        frame = frame.f_back
    warnings.warn(text, ChaosWarning, stacklevel=depth)
