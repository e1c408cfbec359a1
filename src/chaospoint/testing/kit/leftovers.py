"""What other code left behind: rules, a switch that is off, and errors of chaospoint's own.

What is armed is noted at the beginning; looked at later, what was left since is said and put in
order, so that the next test begins as this one did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from traceback import format_exception
from typing import TYPE_CHECKING

from chaospoint._kernel import reporting

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._registry.registry import Registry

__all__ = ["Leftovers", "disarm_left", "enable_again", "take_bugs"]

_FROM_OUTSIDE = ("env", "file")
_CODE = ("code", "test")


class Leftovers:
    """Looks after one registry, on one thread; makes and loads nothing where nothing is armed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known = frozenset(registry.rules())
        self._enabled = registry.enabled
        self._bugs = tuple(reporting.bugs)

    def problems(
        self, owned: Iterable[ArmedRule] = (), *, disabled_by_owner: bool = False
    ) -> list[str]:
        """Say what was left since, and put it in order: disarm, enable, forget.

        ``owned``: rules that are meant to stay. ``disabled_by_owner``: the switch is meant to be
        off.
        """
        meant = self._known.union(owned)
        # What was disabled and enabled again comes back as another rule of the same identity.
        same = {rule.identity for rule in meant if rule.source not in _CODE}
        rules = self._registry.rules()
        leaks = [rule for rule in rules if rule not in meant and rule.identity not in same]
        found = disarm_left(self._registry, leaks)
        if self._enabled and not disabled_by_owner:
            found += enable_again(self._registry)
        return [*found, *take_bugs(self._bugs)]


def enable_again(registry: Registry, by: str = "the test") -> list[str]:
    """Enable what was left disabled, and say so."""
    if registry.enabled:
        return []
    registry.enable(by="test")
    return [f"chaospoint was left disabled by {by}: call chaospoint.enable() at its end"]


def disarm_left(registry: Registry, rules: Iterable[ArmedRule], by: str = "") -> list[str]:
    """Disarm those of ``rules`` that are still armed, and say who armed them: ``by``, if known.

    But for those of environment and file, which whoever runs the tests means.
    """
    armed = frozenset(registry.rules())
    left = [rule for rule in rules if rule in armed and rule.source not in _FROM_OUTSIDE]
    if left:
        registry.engine.remove(left, "disarmed", "test")
    return [
        f"{rule.shown}, armed by {by or rule.source}{f' ({rule.by})' if rule.by else ''}, was left"
        " armed: use `with armed(...)`, the fixture `chaos`, or disarm it"
        for rule in left
    ]


def take_bugs(known: Sequence[BaseException] = ()) -> list[str]:
    """Return what went wrong in chaospoint itself, and forget it, but for what is known."""
    errors = [reporting.bugs.popleft() for _ in range(len(reporting.bugs))]
    reporting.bugs.extend(error for error in errors if error in known)
    found = []
    for error in errors:
        if error in known:
            continue
        text = "".join(format_exception(error)).rstrip()
        found.append(
            f"chaospoint itself failed, or an observer or kind of fault it called:\n{text}"
        )
    return found
