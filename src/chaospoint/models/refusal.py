"""How bad input is refused: which rule, which field, the value, what is wrong with it, the cure.

Models and parsers raise `Refusal`; it is a `ValueError`, so that it may pass through pydantic.
What leaves the package is `InvalidPlan`, made from it at the outermost call.
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
_OF_RULES = ("rule", "rules", "entries")  # what has rules as its value


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
"""Stands for a value that messages must not show."""


class Refusal(ValueError):
    """Something in a plan means nothing.

    ``field`` is the key as the user wrote it, with dots for what is inside; ``nth`` is the place
    of the rule in its plan, from 1; ``line`` that of the text in its file, from 1.
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
        self.picture = ""  # of the text, with a mark below the column, where there is one
        self.unquoted_cure: str | None = None  # where the cure, and the field, quote the text

    def within(self, field: str, value: object = MISSING) -> Refusal:
        """Say that this is about ``field``, whose value is used if none was given, or inside it."""
        if self.field is not None:
            self.field = f"{field}.{self.field}".replace(".[", "[")
            return self
        self.field = field
        if self.value is MISSING:
            self.value = value
        return self

    def of_rule(self, rule: str, nth: int | None = None) -> Refusal:
        """Say which rule this is about."""
        self.rule, self.nth = rule, nth
        return self

    @property
    def statement(self) -> str:
        """What is wrong, with the field and its value where they are known."""
        what = self.field
        if what and self.value is not MISSING:
            what = f"{what}={show(self.value)}"
        return f"{what}: {self.problem}" if what else self.problem

    def quoting(self, cure: str, unquoted: str) -> Refusal:
        """Say ``cure``, which quotes the rule, and ``unquoted`` to those who must not read it."""
        self.cure, self.picture, self.unquoted_cure = cure, "", unquoted
        return self

    @property
    def _unquoted(self) -> str:
        """What is wrong and its cure, without the text of the rule."""
        if self.unquoted_cure is not None:
            return f"{self.problem}; {self.unquoted_cure}"
        if self.field and (self.picture or self.field.rpartition(".")[2] in _OF_RULES):
            return f"{self.field}: {self.problem}; {self.cure}"
        return f"{self.statement}; {self.cure}"

    def invalid_plan(self, at: str | None = None) -> InvalidPlan:
        """Return the error for the user; ``at`` is a file, with the line where it is known."""
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
    """Return the message for those who must not read the text of a rule."""
    return error.unquoted if isinstance(error, InvalidPlan) else str(error)


def first_refusal(error: ValidationError) -> Refusal:
    """Return the first thing that pydantic found wrong, in our words."""
    detail = error.errors(include_url=False)[0]
    field = ".".join(map(str, detail["loc"]))
    inner = detail.get("ctx", {}).get("error")
    if isinstance(inner, Refusal):
        # What names its rule already speaks of that rule's fields.
        return inner if inner.rule or not field else inner.within(field, detail["input"])
    if detail["type"] == "missing":
        return Refusal("missing", f"write a value for {field!r}", field=field)
    return Refusal(detail["msg"], "correct the value", field=field, value=detail["input"])


def check_keys(keys: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse the first key that is not known, with the nearest ones that are."""
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
    """Return what messages call a key, whatever it is."""
    plain = isinstance(key, str) and key.isprintable() and len(key) <= _WIDTH
    return str(key) if plain else show(key)


def close_to(name: object, names: Iterable[str]) -> str:
    """Return ``did you mean …?`` with the nearest names, or nothing if none is near."""
    if not isinstance(name, str):
        return ""
    by_lower = {known.lower(): known for known in names}
    if name.lower() in by_lower:
        return f"did you mean {by_lower[name.lower()]!r}?"
    near = nearest(name.lower(), by_lower, cutoff=0.75)
    return f"did you mean {' or '.join(repr(by_lower[lower]) for lower in near)}?" if near else ""


def name_rule(point: object = None, nth: int | None = None) -> str:
    """Return what messages call a rule: ``rule 2 ('payment.charge')``."""
    shown = show(point) if isinstance(point, str) else ""
    if nth is None:
        return f"rule {shown}".rstrip()
    return f"rule {nth} ({shown})" if shown else f"rule {nth}"


def describe(error: BaseException) -> str:
    """Return the class and the text of an error, whatever its text does."""
    name = type(error).__name__
    try:
        return f"{name}: {transparently(str, error)}"
    except Exception:  # a foreign __str__
        return name


def one_line(text: str) -> str:
    """Return a text with escapes in place of what is not printable, line breaks too."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _repr(value: object) -> str:
    return repr(value[: _WIDTH + 1] if isinstance(value, str | bytes) else value)


def show(value: object) -> str:
    """Return the value as a message shows it: one line, not long, whatever the value does."""
    try:
        text = transparently(_repr, value)
    except Exception:  # a foreign __repr__, or an int too long to print
        text = f"<{type(value).__name__}>"
    text = " ".join(text.splitlines())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
