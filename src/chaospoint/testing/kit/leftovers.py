"""Find and clean up what a test left behind: armed rules, a disabled registry, internal errors.

The state at the start of the test is recorded. At its end every difference is reported and undone,
so that the next test starts from the same state.
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
    """The state of a registry at one moment, to compare with later; use it from one thread."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known = frozenset(registry.rules())
        self._enabled = registry.enabled
        self._bugs = tuple(reporting.bugs)

    def problems(
        self, owned: Iterable[ArmedRule] = (), *, disabled_by_owner: bool = False
    ) -> list[str]:
        """Return what was left behind since then, one sentence each, and undo it.

        Rules are disarmed, the registry is enabled and internal errors are forgotten.
        ``owned``: rules that should stay armed. ``disabled_by_owner``: whether the registry should
        stay disabled.
        """
        expected = self._known.union(owned)
        # Disabling and enabling replaces a rule by another one with the same identity.
        same = {rule.identity for rule in expected if rule.source not in _CODE}
        rules = self._registry.rules()
        leaks = [rule for rule in rules if rule not in expected and rule.identity not in same]
        problems = disarm_left(self._registry, leaks)
        if self._enabled and not disabled_by_owner:
            problems += enable_again(self._registry)
        return [*problems, *take_bugs(self._bugs)]


def enable_again(registry: Registry, by: str = "the test") -> list[str]:
    """Enable the registry if it is disabled, and return this as a problem; ``by``: who left it."""
    if registry.enabled:
        return []
    registry.enable(by="test")
    return [f"{by} left chaospoint disabled: call chaospoint.enable() at its end"]


def disarm_left(registry: Registry, rules: Iterable[ArmedRule], by: str = "") -> list[str]:
    """Disarm the ``rules`` that are still armed, and return a problem for each.

    ``by``: who armed them, if known. Rules from the environment and from files stay: they belong
    to the user who runs the tests.
    """
    armed = frozenset(registry.rules())
    left = [rule for rule in rules if rule in armed and rule.source not in _FROM_OUTSIDE]
    if left:
        registry.engine.remove(left, "disarmed", "test")
    return [
        f"{rule.shown}, armed by {by or rule.source}{f' ({rule.by})' if rule.by else ''}, was left"
        " armed: use `with armed(...)` or the fixture `chaos`, or disarm it"
        for rule in left
    ]


def take_bugs(known: Sequence[BaseException] = ()) -> list[str]:
    """Return a problem for each internal error of chaospoint, and forget all but the ``known``."""
    errors = [reporting.bugs.popleft() for _ in range(len(reporting.bugs))]
    reporting.bugs.extend(error for error in errors if error in known)
    problems = []
    for error in errors:
        if error in known:
            continue
        text = "".join(format_exception(error)).rstrip()
        problems.append(f"chaospoint, or an observer or fault kind that it called, failed:\n{text}")
    return problems
