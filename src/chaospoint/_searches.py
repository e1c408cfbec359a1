"""The searches of blocks and statements, made at their first reach: most points have none.

Nobody knows what a point is used as before it is, so what a block or a statement cannot express
is said here, once for each time that something is armed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chaospoint import _bug
from chaospoint._aim import Kind, Search, aims_at, say_left_out, search
from chaospoint._drive import adrive, drive

if TYPE_CHECKING:
    from chaospoint._epoch import ArmedRule
    from chaospoint._point import Point

__all__ = ["Searches"]


class Searches(dict[Kind, Search]):
    """By the kind of the placement, before the call or after it."""

    __slots__ = ("_after", "_point", "_rules")

    def __init__(self, rules: Sequence[ArmedRule], point: Point, *, after: bool) -> None:
        super().__init__()
        self._rules = rules
        self._point = point
        self._after = after

    def __missing__(self, kind: Kind) -> Search:
        try:
            aims = aims_at(self._rules, self._point, kind, after=self._after)
            self[kind] = made = search(aims)
            if not self._after:
                say_left_out(self._rules, self._point.name, kind)
        except Exception:
            _bug.report(f"making {self._point.name!r} ready")
            return search(())
        return made

    def act(self, kind: Kind, labels: Mapping[str, object]) -> None:
        """Make one reach, and act if a rule fires."""
        if (firing := self[kind](labels)) is not None:
            drive(*firing)

    async def aact(self, kind: Kind, labels: Mapping[str, object]) -> None:
        """Make one reach, and act in this task if a rule fires."""
        if (firing := self[kind](labels)) is not None:
            await adrive(*firing)
