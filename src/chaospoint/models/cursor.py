"""A place in the text of rules: what stands there, and how a mistake is shown with its column."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, Final, NoReturn, TypeVar

from chaospoint.models import strict_json
from chaospoint.models.plain_data import HALF
from chaospoint.models.refusal import Refusal, close_to, show

__all__ = ["Argument", "Arguments", "Cursor", "Located", "Misplaced", "is_word"]

T = TypeVar("T")

_PADDED = re.compile(r"^(-?)0+(?=[0-9])")
_SPACE = re.compile(r"\s*")
_MARK = re.compile(r'"(?:[^"\\]|\\.)*"|["()\[\]{},]')
_NAMED = re.compile(r"([a-z_]+)\s*=\s*")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# What is not text unless it is quoted: broken JSON, and what other languages call its words.
_NO_WORDS = re.compile(
    r"""(?:["'\[{].*|[-+]?[0-9.]+(?:e[-+]?[0-9]*)?|[-+]?(?:nan|inf(?:inity)?)"""
    r"""|none|null|true|false|)""",
    re.DOTALL | re.IGNORECASE,
)
_WORD = re.compile(r"[\w*/.@:+%~-]+")
_JSON: Final = (
    "write null, true, false, a finite number, text in double quotes, a list or an object"
)
_WIDTH = 60


class Located(Refusal):
    """A refusal that says the column already."""


class Misplaced(Refusal):
    """A refusal of what stands at ``at``, which does not say so yet."""

    def __init__(self, problem: str, cure: str, at: int) -> None:
        super().__init__(problem, cure)
        self.at = at


def is_word(text: str) -> bool:
    """Tell whether the text may stand without quotes, and is read back as text."""
    if _WORD.fullmatch(text) is None or _NO_WORDS.fullmatch(text):
        return False
    try:
        return strict_json.first(_unpadded(text), 0)[1] < len(_unpadded(text))
    except ValueError:
        return True


def _unpadded(text: str) -> str:
    return _PADDED.sub(r"\1", text, count=1)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a fault, or the value of a key, as it was written.

    ``at``: its place; ``behind``: that of the comma before it, or its own if it is the first;
    ``end``: what closes the list in which it stands.
    """

    text: str
    at: int
    behind: int
    end: str
    _cursor: Cursor

    def read(self, read: Callable[[str], T]) -> T:
        """Return what ``read`` makes of the text, without the quotes around it."""
        text = self.json() if self.text.startswith('"') else self.text
        return self._checked(read, str(text))

    def value(self, read: Callable[[object], T]) -> T:
        """Return what ``read`` makes of the value."""
        return self._checked(read, self.json())

    def json(self) -> object:
        """Return the value that is written as JSON; bare words are text, as in fail-rs."""
        text = _unpadded(self.text)
        try:
            value, end = strict_json.first(text, 0)
            if rest := text[end:].lstrip():
                raise JSONDecodeError(f"Expecting ',' or {self.end!r}", text, len(text) - len(rest))
            return value
        except ValueError as error:
            if not _NO_WORDS.fullmatch(self.text):
                return self.text
            place = self.at + len(self.text) - len(text) + getattr(error, "pos", 0)
            self._cursor.refuse_json(error, place)

    def _checked(self, read: Callable[[Any], T], value: object) -> T:
        try:
            return read(value)
        except Refusal as refusal:
            self._cursor.refuse(f"{refusal.problem}: {show(value)}", self.at, refusal.cure)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What stands between the parentheses of a fault, whole and in parts."""

    whole: str
    parts: Sequence[Argument]

    def most(self, count: int, takes: str) -> Sequence[Argument]:
        """Return the parts; refuse more than ``count`` with what the fault ``takes``."""
        if len(self.parts) > count:
            extra = self.parts[count]
            raise Misplaced("has too many arguments", f"write {takes}", extra.behind)
        return self.parts

    def only(self, takes: str) -> Argument:
        """Return the one part; refuse none and more with what the fault ``takes``."""
        if not self.parts:
            raise Refusal("takes one argument", f"write {takes}")
        if len(self.parts) > 1:
            raise Misplaced("takes one argument", f"write {takes}", self.parts[1].behind)
        return self.parts[0]

    def keywords(
        self, names: Collection[str], takes: str
    ) -> tuple[Arguments, Mapping[str, Argument]]:
        """Return the arguments before the first ``name=value``, and these by name."""
        found: dict[str, Argument] = {}
        bare: list[Argument] = []
        for part in self.parts:
            named = _NAMED.match(part.text)
            if named is None:
                if found:
                    raise Misplaced("expected name=value", f"write {takes}", part.at)
                bare.append(part)
                continue
            name = named[1]
            if name not in names:
                cure = close_to(name, names) or f"write {takes}"
                raise Misplaced(f"does not take {name!r}", cure, part.at)
            if name in found:
                raise Misplaced(f"{name!r} stands twice", "keep one of them", part.at)
            value, at = part.text[named.end() :], part.at + named.end()
            found[name] = Argument(value, at, part.behind, part.end, part._cursor)
        return Arguments(self.whole, bare), found

    def words(self) -> str | None:
        """Return all of it as one text, in quotes or bare, or None if there is nothing."""
        if self.whole.startswith('"') and len(self.parts) == 1:
            return str(self.parts[0].json())
        return self.whole or None


class Cursor:
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
        """Tell whether only white space is left."""
        return self.here() == len(self._text)

    def sees(self, token: str) -> bool:
        """Tell whether the token stands here."""
        return self._text.startswith(token, self.here())

    def takes(self, token: str) -> bool:
        """Go behind the token if it stands here, and tell whether it did."""
        seen = self.sees(token)
        self._at += len(token) * seen
        return seen

    def expect(self, token: str, expected: str, cure: str = "") -> None:
        """Go behind the token; refuse anything else."""
        if not self.takes(token):
            self.refuse(f"expected {expected}", cure=cure)

    def finds(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Go behind what the pattern matches here, if it does."""
        found = pattern.match(self._text, self.here())
        if found is not None:
            self._at = found.end()
        return found

    def match(self, pattern: re.Pattern[str], expected: str) -> str:
        """Return what the pattern matches here; refuse anything else."""
        found = self.finds(pattern)
        if found is None:
            self.refuse(f"expected {expected}")
        return found[0]

    def json(self) -> Any:
        """Return the JSON value that stands here."""
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
            parts.append(self.argument(")", behind=self._at - 1 if parts else None))
        whole = self._text[opened : self._at].strip()
        self._at += 1
        return Arguments(whole, parts if whole else ())

    def argument(self, end: str, *, behind: int | None = None) -> Argument:
        """Read up to the comma, or the ``end``, that stands in no brackets or quotes."""
        start = self.here()
        self._pass_over(end)
        text = self._text[start : self._at].rstrip()
        return Argument(text, start, start if behind is None else behind, end, self)

    def _pass_over(self, end: str) -> None:
        closing: list[str] = []
        for found in _MARK.finditer(self._text, self._at):
            mark, self._at = found[0], found.start()
            if mark == '"':
                self.refuse("expected a second '\"' to close this one")
            elif mark in _CLOSING:
                closing.append(_CLOSING[mark])
            elif not closing and mark in (",", end):
                return
            elif closing and mark == closing[-1]:
                closing.pop()
            elif closing and mark in _CLOSING.values():
                self.refuse(f"expected {closing[-1]!r}")
        self.refuse(f"expected {(closing[-1] if closing else end)!r}", len(self._text))

    def refuse_json(self, error: ValueError, at: int) -> NoReturn:
        """Refuse what is not JSON."""
        reason = error.msg if isinstance(error, JSONDecodeError) else error
        self.refuse(f"expected JSON: {reason}", at, _JSON)

    def refuse(self, problem: str, at: int | None = None, cure: str = "") -> NoReturn:
        """Raise a refusal that names the column and shows it."""
        at = self._at if at is None else at
        start = max(0, at - _WIDTH)
        shown = "".join(c if c.isprintable() else " " for c in self._text[start : at + _WIDTH])
        caret = f"\n    {shown}\n    {' ' * (at - start)}^"
        located = Located(f"column {at + 1}: {problem}", cure or "correct it there")
        located.picture = caret
        raise located
