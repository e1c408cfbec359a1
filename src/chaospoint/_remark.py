"""Where a remark goes: what code armed is warned of, what came from outside is logged."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from types import FrameType

from chaospoint._inside import transparent
from chaospoint.errors import ChaosWarning

__all__ = ["remark"]

_HERE = str(Path(__file__).parent) + os.sep


def remark(text: str, source: str) -> None:
    """Say ``text`` to whoever armed from ``source``."""
    with transparent():  # handlers, and what shows warnings, are foreign code
        _say(text, source)


def _say(text: str, source: str) -> None:
    if source not in ("code", "test"):
        logging.getLogger("chaospoint").warning("%s (armed by %s)", text, source)
        return
    # The warning belongs to the line that armed, however many frames of ours lie between.
    depth = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        depth += 1
        frame = frame.f_back
    warnings.warn(text, ChaosWarning, stacklevel=depth)
