"""Pages of long lists: a limited number of items, and a mark at which the next page begins.

A mark names a position in the order, and not a count, so items that appear or disappear between two
requests neither hide other items nor show them twice.  A page of two lists has a mark for each,
separated by a space.
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
"""The default number of items on a page."""

_END: Final = "~"  # sorts after every name and every mark of a rule

MARK_OF_NAMES: Final = rf"([a-z0-9_.-]+|{_END})"
MARK_OF_RULES: Final = rf"([01](\.[0-9a-f]{{16}})+|{_END})"
MARK_OF_BOTH: Final = f"{MARK_OF_NAMES} {MARK_OF_RULES}"
"""The marks of each kind of list, as regular expressions."""


class BadMark(ValueError):
    """A mark that is not one of this list."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: at most ``limit`` items after the mark ``after``.

    The methods raise `BadMark` for a mark that is not one of their lists.
    """

    limit: int = USUAL
    after: str = ""

    def of_names(self, names: Iterable[str]) -> tuple[list[str], str | None]:
        """Return the names on this page, and the mark of the next page, or None on the last."""
        ordered = sorted(names)
        start = bisect_right(ordered, self._mark_like(MARK_OF_NAMES))
        listed = ordered[start : start + self.limit]
        return listed, listed[-1] if start + self.limit < len(ordered) else None

    def of_rules(
        self, armed: Sequence[ArmedRule], ended: Sequence[ArmedRule] = ()
    ) -> tuple[list[ArmedRule], str | None]:
        """Return the rules on this page, and the mark of the next page, or None on the last.

        ``armed`` is in the order in which the rules are tried.
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
        """Return the names and rules on this page, at most ``limit`` of each, and the next mark."""
        after_name, _, after_rule = self._mark_like(MARK_OF_BOTH).partition(" ")
        listed, name = replace(self, after=after_name).of_names(names)
        rules, rule = replace(self, after=after_rule).of_rules(armed, ended)
        last = name is None and rule is None
        return listed, rules, None if last else f"{name or _END} {rule or _END}"

    def link(self, mark: object) -> dict[str, str]:
        """Return the Link header to the page after ``mark``, or nothing without a mark."""
        if mark is None:
            return {}
        return {"link": f'<?{urlencode({"limit": self.limit, "after": mark})}>; rel="next"'}

    def _mark_like(self, form: str) -> str:
        if self.after and not re.fullmatch(form, self.after):
            raise BadMark(self.after)
        return self.after


def _mark(kind: int, *numbers: int) -> str:
    """Return a text that sorts like the numbers, which may be negative."""
    return ".".join([str(kind), *(f"{number + 2**63:016x}" for number in numbers)])
