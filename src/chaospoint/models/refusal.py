"""Refusals of bad input, with the rule, the field, the value, the problem and the cure.

Models and parsers raise `Refusal`, a `ValueError`, so that it passes through pydantic. The
outermost call turns it into `InvalidPlan`, which users see.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from pydantic import ValidationError

from chaospoint._kernel.context import transparently
from chaospoint._kernel.names import nearest
from chaospoint.errors import ChaosError, InvalidPlan

__all__ = [
    "HIDDEN",
    "Refusal",
    "check_keys",
    "close_to",
    "describe",
    "first_refusal",
    "name_key",
    "name_rule",
    "one_line",
    "show",
    "unquoted",
]

_WIDTH = 80
_OF_RULES = ("rule", "rules", "entries")  # keys whose values are rules


class _Missing:
    """The type of a value that was not given."""

    def __repr__(self) -> str:
        return "<missing>"


MISSING: Final = _Missing()


class _Hidden:
    """The type of a value that may be personal."""

    def __repr__(self) -> str:
        return "<not shown>"


HIDDEN: Final = _Hidden()
"""Stands for a value that messages must not show, because it may be personal."""


class Refusal(ValueError):
    """A part of a plan is invalid.

    ``field`` is the key as the user wrote it; dots separate nested keys. ``nth`` is the number of
    the rule in its plan and ``line`` the line in its file, both from 1.
    """

    def __init__(
        self,
        problem: str,
        cure: str,
        *,
        field: str | None = None,
        value: object = MISSING,
        line: int | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.cure = cure
        self.field = field
        self.value = value
        self.rule: str | None = None
        self.nth: int | None = None
        self.line = line
        self.picture = ""  # the text with a mark below the column, or empty
        self.unquoted_cure: str | None = None  # set if the cure quotes the text of a rule

    def within(self, field: str, value: object = MISSING) -> Refusal:
        """Add the field that was being read, in front of a field that is known already.

        ``value`` is the field's; it is used if no value is known.
        """
        if self.field is not None:
            self.field = f"{field}.{self.field}".replace(".[", "[")
            return self
        self.field = field
        if self.value is MISSING:
            self.value = value
        return self

    def of_rule(self, rule: str, nth: int | None = None) -> Refusal:
        """Add the rule in which this happened."""
        self.rule, self.nth = rule, nth
        return self

    @property
    def statement(self) -> str:
        """The problem, with the field and its value if they are known."""
        subject = self.field
        if subject and self.value is not MISSING:
            subject = f"{subject}={show(self.value)}"
        return f"{subject}: {self.problem}" if subject else self.problem

    def quoting(self, cure: str, unquoted: str) -> Refusal:
        """Set a cure that quotes the rule, and one for readers who must not see the rule."""
        self.cure, self.picture, self.unquoted_cure = cure, "", unquoted
        return self

    @property
    def _unquoted(self) -> str:
        """The problem and its cure, without the text of the rule."""
        if self.unquoted_cure is not None:
            return f"{self.problem}; {self.unquoted_cure}"
        if self.field and (self.picture or self.field.rpartition(".")[2] in _OF_RULES):
            return f"{self.field}: {self.problem}; {self.cure}"
        return f"{self.statement}; {self.cure}"

    def invalid_plan(self, at: str | None = None) -> InvalidPlan:
        """Return the error for the user; ``at`` is the file, with the line if it is known."""
        place = "".join(f"{part}: " for part in (at, self.rule) if part)
        return InvalidPlan(
            f"{place}{self.statement}; {self.cure}{self.picture}",
            unquoted=place + self._unquoted,
            rule=self.rule,
            field=self.field,
            value=None if self.value is MISSING else self.value,
            cure=self.cure,
        )


def unquoted(error: ChaosError) -> str:
    """Return the message without the text of rules, for readers who must not see it."""
    return error.unquoted if isinstance(error, InvalidPlan) else str(error)


def first_refusal(error: ValidationError) -> Refusal:
    """Return the first error of pydantic as a refusal."""
    detail = error.errors(include_url=False)[0]
    field = ".".join(map(str, detail["loc"]))
    inner = detail.get("ctx", {}).get("error")
    if isinstance(inner, Refusal):
        # With a rule in it, the field is already complete.
        return inner if inner.rule or not field else inner.within(field, detail["input"])
    if detail["type"] == "missing":
        return Refusal("missing", f"write a value for {field!r}", field=field)
    return Refusal(detail["msg"], "correct the value", field=field, value=detail["input"])


def check_keys(keys: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse the first unknown key; the cure suggests similar ones."""
    for key, value in keys.items():
        if key not in known:
            names = list(known)
            if len(names) == 1:
                raise Refusal(
                    "unknown key", f"the only key is {names[0]!r}", field=name_key(key), value=value
                )
            cure = close_to(key, names) or f"known are {', '.join(names)}"
            raise Refusal("unknown key", cure, field=name_key(key), value=value)


def name_key(key: object) -> str:
    """Return the name that messages use for a key of any type."""
    plain = isinstance(key, str) and key.isprintable() and len(key) <= _WIDTH
    return str(key) if plain else show(key)


def close_to(name: object, names: Iterable[str]) -> str:
    """Return ``did you mean …?`` with the most similar names, or an empty text."""
    if not isinstance(name, str):
        return ""
    by_lower = {known.lower(): known for known in names}
    if name.lower() in by_lower:
        return f"did you mean {by_lower[name.lower()]!r}?"
    near = nearest(name.lower(), by_lower, cutoff=0.75)
    return f"did you mean {' or '.join(repr(by_lower[lower]) for lower in near)}?" if near else ""


def name_rule(point: object = None, nth: int | None = None) -> str:
    """Return the name that messages use for a rule: ``rule 2 ('payment.charge')``."""
    shown = show(point) if isinstance(point, str) else ""
    if nth is None:
        return f"rule {shown}".rstrip()
    return f"rule {nth} ({shown})" if shown else f"rule {nth}"


def describe(error: BaseException) -> str:
    """Return the class and the text of an error; the class alone if its ``__str__`` fails."""
    name = type(error).__name__
    try:
        return f"{name}: {transparently(str, error)}"
    except Exception:  # a foreign __str__
        return name


def one_line(text: str) -> str:
    """Return the text with escapes for characters that are not printable, such as line breaks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _repr(value: object) -> str:
    return repr(value[: _WIDTH + 1] if isinstance(value, str | bytes) else value)


def show(value: object) -> str:
    """Return the value as messages show it: one short line, even if its ``__repr__`` fails."""
    try:
        text = transparently(_repr, value)
    except Exception:  # a foreign __repr__, or an int too long to print
        text = f"<{type(value).__name__}>"
    text = " ".join(text.splitlines())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
