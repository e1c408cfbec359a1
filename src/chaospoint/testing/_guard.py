"""What other code left behind: rules, a switch that is off, and errors of chaospoint's own.

A guard notes what is armed when it is made; looked at later it says what was left since, and puts
it in order, so that the next test begins as this one did.
"""

from __future__ import annotations

from collections.abc import Iterable
from traceback import format_exception
from typing import TYPE_CHECKING

from chaospoint import _bug

if TYPE_CHECKING:
    from chaospoint._epoch import ArmedRule
    from chaospoint._registry import Registry

__all__ = ["Guard", "take_bugs"]

_FROM_OUTSIDE = ("env", "file")  # whoever runs the tests means these


class Guard:
    """Looks after one registry, on one thread; makes and loads nothing where nothing is armed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known = frozenset(registry.rules())
        self._enabled = registry.enabled
        _bug.bugs.clear()

    def left(self) -> list[ArmedRule]:
        """Return the rules that are armed since then, but for those of environment and file."""
        return [
            rule
            for rule in self._registry.rules()
            if rule not in self._known and rule.source not in _FROM_OUTSIDE
        ]

    def problems(self, owned: Iterable[ArmedRule] = ()) -> list[str]:
        """Say what was left since, and put it in order: disarm, enable, forget.

        ``owned``: rules that are meant to stay.
        """
        return [*self._leaks(set(owned)), *self._switch(), *take_bugs()]

    def _leaks(self, owned: set[ArmedRule]) -> Iterable[str]:
        rules = [rule for rule in self.left() if rule not in owned]
        if rules:
            self._registry.board.remove(rules, "disarmed", "test")
        for rule in rules:
            by = f" ({rule.by})" if rule.by else ""
            yield (
                f"{rule.shown}, armed by {rule.source}{by}, was left armed: use `with armed(...)`, "
                "the fixture `chaos`, or disarm it"
            )

    def _switch(self) -> Iterable[str]:
        if self._enabled and not self._registry.enabled:
            self._registry.enable(by="test")
            yield "chaospoint was left disabled: call chaospoint.enable() before the test ends"


def take_bugs() -> list[str]:
    """Return what went wrong in chaospoint itself since this was asked last, and forget it."""
    found = []
    while _bug.bugs:
        error = _bug.bugs.popleft()
        text = "".join(format_exception(error)).rstrip()
        found.append(
            f"chaospoint itself failed, or an observer or kind of fault it called:\n{text}"
        )
    return found
