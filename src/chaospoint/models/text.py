"""The text form of rules, a superset of what fail-rs and gofail read.

::

    text    entry (';' entry)*
    entry   name '=' chain  |  a rule in JSON, in which "rule" may be a chain
    chain   rule ('->' rule)*
    rule    (percent '%' | count '*')* fault ('+' fault)*
    fault   verb ['(' argument (',' argument)* ')']

White space may stand between any two of these, and quoted text may hold any of them.  Reading
gives the keys of rules; what they mean is judged by the models, and every mistake gets its column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from chaospoint.errors import InvalidPlan
from chaospoint.models import strict_json
from chaospoint.models.kinds import VERB, verb_named
from chaospoint.models.plain_data import HALF, quoted
from chaospoint.models.refusal import Refusal, show
from chaospoint.models.shorthand import SHORT_KEYS

if TYPE_CHECKING:
    from chaospoint.models.fault_model import FaultModel
    from chaospoint.models.rule import Rule

__all__ = ["Argument", "Arguments", "read_entries", "read_keys", "read_plan", "write_rule"]

T = TypeVar("T")
Keys = dict[str, Any]

_NAME = re.compile(r"[^\s=;]+")
_NAMED = re.compile(r"\s*[\w.*-]+\s*=")
_PREFIX = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([%*])")
_PADDED = re.compile(r"^(-?)0+(?=[0-9])")
_SPACE = re.compile(r"\s*")
_MARK = re.compile(r'"(?:[^"\\]|\\.)*"|["()\[\]{},]')
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# What is not text unless it is quoted: broken JSON, and what other languages call its words.
_NO_WORDS = re.compile(
    r"""(?:["'\[{].*|[-+]?[0-9.]+(?:e[-+]?[0-9]*)?|[-+]?(?:nan|inf(?:inity)?)"""
    r"""|none|null|true|false|)""",
    re.DOTALL | re.IGNORECASE,
)
_JSON = "write null, true, false, a finite number, text in double quotes, a list or an object"
_WIDTH = 60
_DIGITS = 400


def read_plan(text: str) -> object:
    """Return the data of a plan: JSON of the whole, or the keys of its rules; `Refusal` only."""
    cursor = _Cursor(text)
    if cursor.at_end():
        raise Refusal("empty", 'write point=fault, or {"rules": []} to arm nothing')
    if cursor.sees("[") or cursor.sees("{"):
        value = cursor.json()
        if isinstance(value, list) or "rules" in value or not value.keys() - {"seed", "placements"}:
            if not cursor.at_end():
                cursor.refuse("expected the end of the plan")
            return value
    return read_entries(text)


def read_entries(text: str) -> list[Keys]:
    """Return the keys of the rules in ``name=chain; name=chain``; raises `Refusal` only."""
    cursor = _Cursor(text)
    rules: list[Keys] = []
    while not cursor.at_end():
        if cursor.takes(";"):
            continue
        if cursor.sees("{"):
            rules += read_keys(cursor.json())
            expected = "';' or the end"
        else:
            name = cursor.match(_NAME, "the name of a point or a glob")
            cursor.expect("=", f"'=' behind {show(name)}")
            rules += [{"point": name, **keys} for keys in _chain(cursor)]
            expected = "'+', '->', ';' or the end"
        if not cursor.at_end():
            cursor.expect(";", expected)
    if not rules:
        cursor.refuse("expected a rule such as payment.charge=latency(200ms)")
    return rules


def read_keys(keys: Mapping[str, Any]) -> list[Keys]:
    """Return the keys with those of the text in ``rule``, if it is there, in its place: each rule
    of it gets the others too; raises `Refusal` only."""
    if "rule" not in keys:
        return [dict(keys)]
    beside = dict(keys)
    text = beside.pop("rule")
    if not isinstance(text, str):
        cure = 'write it as text in quotes, such as "off" or "5%raise(TimeoutError)"'
        raise Refusal("not text", cure, field="rule", value=text)
    try:
        rules = read_chain(text)
    except Refusal as refusal:
        if _NAMED.match(text):
            cure = "leave the name out: it is said beside the text"
            raise Refusal("names a point", cure, field="rule", value=text) from None
        raise refusal.within("rule", text) from None
    for key, value in beside.items():
        if key in SHORT_KEYS:
            cure = "write it into the text, joined with '+', or leave `rule` out"
            raise Refusal("the text in `rule` holds all the faults", cure, field=key, value=value)
        if any(key in rule for rule in rules):
            cure = "say it in the text alone, or leave `rule` out"
            raise Refusal("the text in `rule` says it already", cure, field=key, value=value)
    return [{**rule, **beside} for rule in rules]


def read_chain(text: str) -> list[Keys]:
    """Return the keys of the rules in ``rule->rule``, without a point; raises `Refusal` only."""
    cursor = _Cursor(text)
    rules = _chain(cursor)
    if not cursor.at_end():
        cursor.refuse("expected '+', '->' or the end")
    return rules


def _chain(cursor: _Cursor) -> list[Keys]:
    rules = [_rule(cursor)]
    while cursor.takes("->"):
        rules.append(_rule(cursor))
    return rules


def _rule(cursor: _Cursor) -> Keys:
    keys: Keys = {}
    while (found := cursor.finds(_PREFIX)) is not None:
        number, sign = found.groups()
        if len(number) > _DIGITS:
            cursor.refuse("expected a shorter number", found.start())
        key = "probability" if sign == "%" else "times"
        if key in keys:
            cursor.refuse(f"expected a fault, for there is a '{sign}' already", found.start())
        if sign == "%":
            # Decimal, so that 30% is 0.3 and what is written reads back equal.
            share = Decimal(number) / 100
            if share > 1:
                cursor.refuse("expected a percentage from 0 to 100", found.start())
            keys[key] = float(share)
        elif number.isdigit() and int(number) > 0:
            keys[key] = int(number)
        else:
            cursor.refuse("expected a whole number from 1 before '*'", found.start())
    faults = [_fault(cursor)]
    while cursor.takes("+"):
        faults.append(_fault(cursor))
    return {**keys, "faults": faults}


def _fault(cursor: _Cursor) -> FaultModel:
    at = cursor.here()
    word = cursor.match(VERB, "a fault such as latency(200ms) or raise(TimeoutError)")
    try:
        read = verb_named(word)
        return read(cursor.arguments() if cursor.takes("(") else Arguments("", ()))
    except _Located:
        raise
    except Refusal as refusal:
        cursor.refuse(f"{show(word)}: {refusal.statement}", at, refusal.cure)
    except InvalidPlan as error:  # from a kind that was built without `checked`
        cursor.refuse(f"{show(word)}: {error}", at, error.cure or "")


class _Located(Refusal):
    """A refusal that says the column already."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a fault, as it was written."""

    text: str
    at: int
    _cursor: _Cursor

    def read(self, read: Callable[[str], T]) -> T:
        """Return what ``read`` makes of the text; quotes around it are taken off."""
        text = self.json() if self.text.startswith('"') else self.text
        try:
            return read(str(text))
        except Refusal as refusal:
            self._cursor.refuse(f"{refusal.problem}: {show(text)}", self.at, refusal.cure)

    def json(self) -> object:
        """Return the value that is written as JSON; bare words are text, as in fail-rs."""
        text = _PADDED.sub(r"\1", self.text, count=1)
        try:
            value, end = strict_json.first(text, 0)
            if rest := text[end:].lstrip():
                raise JSONDecodeError("Expecting ',' or ')'", text, len(text) - len(rest))
            return value
        except ValueError as error:
            if not _NO_WORDS.fullmatch(self.text):
                return self.text
            place = self.at + len(self.text) - len(text) + getattr(error, "pos", 0)
            self._cursor.refuse_json(error, place)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What stands between the parentheses of a fault, whole and in parts."""

    whole: str
    parts: Sequence[Argument]

    def most(self, count: int, takes: str) -> Sequence[Argument]:
        """Return the parts; refuse more than ``count`` with what the fault ``takes``."""
        if len(self.parts) > count:
            raise Refusal("has too many arguments", f"write {takes}")
        return self.parts

    def only(self, takes: str) -> Argument:
        """Return the one part; refuse none and more with what the fault ``takes``."""
        if len(self.parts) != 1:
            raise Refusal("takes one argument", f"write {takes}")
        return self.parts[0]

    def words(self) -> str | None:
        """Return all of it as one text, in quotes or bare, or None if there is nothing."""
        if self.whole.startswith('"') and len(self.parts) == 1:
            return str(self.parts[0].json())
        return self.whole or None


class _Cursor:
    """A place in the text, and what may stand there."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise Refusal("not text", "give the text of a rule or a plan", value=text)
        self._text = text
        self._at = 0
        if half := HALF.search(text):
            self.refuse("expected text in UTF-8", half.start())

    def here(self) -> int:
        """Return the place of the next thing, behind white space."""
        space = _SPACE.match(self._text, self._at)
        assert space is not None  # it matches nothing at all, too
        self._at = space.end()
        return self._at

    def at_end(self) -> bool:
        return self.here() == len(self._text)

    def sees(self, token: str) -> bool:
        return self._text.startswith(token, self.here())

    def takes(self, token: str) -> bool:
        seen = self.sees(token)
        self._at += len(token) * seen
        return seen

    def expect(self, token: str, expected: str) -> None:
        if not self.takes(token):
            self.refuse(f"expected {expected}")

    def finds(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self.here())
        if found is not None:
            self._at = found.end()
        return found

    def match(self, pattern: re.Pattern[str], expected: str) -> str:
        found = self.finds(pattern)
        if found is None:
            self.refuse(f"expected {expected}")
        return found[0]

    def json(self) -> Any:
        start = self.here()
        try:
            value, self._at = strict_json.first(self._text, start)
        except ValueError as error:
            self.refuse_json(error, getattr(error, "pos", start))
        return value

    def arguments(self) -> Arguments:
        """Read up to the closing parenthesis; commas within brackets or quotes part nothing."""
        opened = self._at
        parts: list[Argument] = []
        while not parts or self.takes(","):
            start = self.here()
            self._pass_over()
            parts.append(Argument(self._text[start : self._at].rstrip(), start, self))
        whole = self._text[opened : self._at].strip()
        self._at += 1
        return Arguments(whole, parts if whole else ())

    def _pass_over(self) -> None:
        """Go to the comma or parenthesis that ends the argument."""
        closing: list[str] = []
        for found in _MARK.finditer(self._text, self._at):
            mark, self._at = found[0], found.start()
            if mark == '"':
                self.refuse("expected a second '\"' to close this one")
            elif mark in _CLOSING:
                closing.append(_CLOSING[mark])
            elif not closing and mark in (",", ")"):
                return
            elif closing and mark == closing[-1]:
                closing.pop()
            elif closing and mark in _CLOSING.values():
                self.refuse(f"expected {closing[-1]!r}")
        self.refuse(f"expected {closing[-1] if closing else ')'!r}", len(self._text))

    def refuse_json(self, error: ValueError, at: int) -> NoReturn:
        reason = error.msg if isinstance(error, JSONDecodeError) else error
        self.refuse(f"expected JSON: {reason}", at, _JSON)

    def refuse(self, problem: str, at: int | None = None, cure: str = "") -> NoReturn:
        """Raise a refusal that names the column and shows it."""
        at = self._at if at is None else at
        start = max(0, at - _WIDTH)
        shown = "".join(c if c.isprintable() else " " for c in self._text[start : at + _WIDTH])
        caret = f"\n    {shown}\n    {' ' * (at - start)}^"
        raise _Located(f"column {at + 1}: {problem}", (cure or "correct it there") + caret)


def write_rule(rule: Rule) -> str:
    """Return the rule in text form; as JSON, on one line, where it says more than that can."""
    faults = [fault.to_text() for fault in rule.faults]
    if None in faults:
        return quoted(rule.model_dump(mode="json"))
    prefix = ""
    if rule.probability != 1.0:
        prefix += f"{_percent(rule.probability)}%"
    if rule.times is not None:
        prefix += f"{rule.times}*"
    text = f"{prefix}{'+'.join(map(str, faults))}"
    plain = f"{rule.point}={text}"
    if rule.model_fields_set <= _SAID:
        return plain
    more = rule.model_dump(mode="json", exclude=_SAID)
    if not more:
        return plain
    return f'{{"point": {quoted(rule.point)}, "rule": {quoted(text)}, {quoted(more)[1:]}'


_SAID: Final = {"point", "faults", "probability", "times"}


def _percent(share: float) -> str:
    return f"{(Decimal(repr(share)) * 100).normalize():f}"
