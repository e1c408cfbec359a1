"""A long list is answered a page at a time: so many items, and a mark for where the next begin.

A mark says where its item stands, and not how many stood before it, so what comes and goes between
two pages neither hides another point or armed rule nor shows one twice.  A page of two lists has
the marks of both, with a space between them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from chaospoint._kernel.armed_rule import ArmedRule

__all__ = ["MARK_OF_BOTH", "MARK_OF_NAMES", "MARK_OF_RULES", "USUAL", "BadMark", "Page"]


USUAL: Final = 100
"""How many items a page has, if nothing is asked for."""

_END: Final = "~"  # comes behind each name, and behind the mark of each rule

MARK_OF_NAMES: Final = rf"([a-z0-9_.-]+|{_END})"
MARK_OF_RULES: Final = rf"([01](\.[0-9a-f]{{16}})+|{_END})"
MARK_OF_BOTH: Final = f"{MARK_OF_NAMES} {MARK_OF_RULES}"
"""The marks of each kind of list, as regular expressions."""


class BadMark(ValueError):
    """A mark that no page of this list has given."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for: ``limit`` items, behind the mark ``after``.

    The methods raise `BadMark` for a mark that is not one of their lists.
    """

    limit: int = USUAL
    after: str = ""

    def of_names(self, names: Iterable[str]) -> tuple[list[str], str | None]:
        """Return the names of this page, and the mark of the next one, None if it is the last."""
        ordered = sorted(names)
        start = bisect_right(ordered, self._mark_like(MARK_OF_NAMES))
        found = ordered[start : start + self.limit]
        return found, found[-1] if start + self.limit < len(ordered) else None

    def of_rules(
        self, armed: Sequence[ArmedRule], ended: Sequence[ArmedRule] = ()
    ) -> tuple[list[ArmedRule], str | None]:
        """Return the rules of this page, and the mark of the next one, None if it is the last.

        ``armed``: in the order in which they are tried.
        """
        marks = [
            *(_mark(0, *rule.rank) for rule in armed),
            *(_mark(1, nth) for nth in range(len(ended))),
        ]
        start = bisect_right(marks, self._mark_like(MARK_OF_RULES))
        end = start + self.limit
        return [*armed, *ended][start:end], marks[end - 1] if end < len(marks) else None

    def of_both(
        self, names: Iterable[str], armed: Sequence[ArmedRule], ended: Sequence[ArmedRule]
    ) -> tuple[list[str], list[ArmedRule], str | None]:
        """Return the names and the rules of this page, up to ``limit`` of each, and the mark."""
        behind_name, _, behind_rule = self._mark_like(MARK_OF_BOTH).partition(" ")
        found, name = replace(self, after=behind_name).of_names(names)
        rules, rule = replace(self, after=behind_rule).of_rules(armed, ended)
        none_left = name is None and rule is None
        return found, rules, None if none_left else f"{name or _END} {rule or _END}"

    def link(self, mark: object) -> dict[str, str]:
        """Return the header that leads to the page behind ``mark``, if there is one."""
        if mark is None:
            return {}
        return {"link": f'<?{urlencode({"limit": self.limit, "after": mark})}>; rel="next"'}

    def _mark_like(self, form: str) -> str:
        if self.after and not re.fullmatch(form, self.after):
            raise BadMark(self.after)
        return self.after


def _mark(kind: int, *numbers: int) -> str:
    """Return a text that comes before others as the numbers do, which may be negative."""
    return ".".join([str(kind), *(f"{number + 2**63:016x}" for number in numbers)])
