"""Read the text of rules piece by piece, and report a mistake with its column."""

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
# Text only in quotes: broken JSON, and other languages' names for null, true, false and numbers.
_NEEDS_QUOTES = re.compile(
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
    """A refusal whose message already states the column."""


class Misplaced(Refusal):
    """A refusal of the text at index ``at``; its message does not state the column yet."""

    def __init__(self, problem: str, cure: str, at: int) -> None:
        super().__init__(problem, cure)
        self.at = at


def is_word(text: str) -> bool:
    """Return whether the text, written without quotes, is read back as text."""
    if _WORD.fullmatch(text) is None or _NEEDS_QUOTES.fullmatch(text):
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

    ``at``: the index where it begins; ``behind``: the index of the comma before it, or ``at`` for
    the first; ``end``: the character that closes the list of arguments.
    """

    text: str
    at: int
    behind: int
    end: str
    _cursor: Cursor

    def read(self, read: Callable[[str], T]) -> T:
        """Return the result of ``read`` for the text, without the quotes around it."""
        text = self.json() if self.text.startswith('"') else self.text
        return self._checked(read, str(text))

    def value(self, read: Callable[[object], T]) -> T:
        """Return the result of ``read`` for the value."""
        return self._checked(read, self.json())

    def json(self) -> object:
        """Return the JSON value; words without quotes are text, as in fail-rs."""
        text = _unpadded(self.text)
        try:
            value, end = strict_json.first(text, 0)
            if rest := text[end:].lstrip():
                raise JSONDecodeError(f"Expecting ',' or {self.end!r}", text, len(text) - len(rest))
            return value
        except ValueError as error:
            if not _NEEDS_QUOTES.fullmatch(self.text):
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
    """The text between the parentheses of a fault, whole and split at its commas."""

    whole: str
    parts: Sequence[Argument]

    def at_most(self, count: int, takes: str) -> Sequence[Argument]:
        """Return the parts; refuse more than ``count``. The cure shows what the fault ``takes``."""
        if len(self.parts) > count:
            extra = self.parts[count]
            raise Misplaced("has too many arguments", f"write {takes}", extra.behind)
        return self.parts

    def only(self, takes: str) -> Argument:
        """Return the only part; refuse any other number. The cure shows what it ``takes``."""
        if not self.parts:
            raise Refusal("takes one argument", f"write {takes}")
        if len(self.parts) > 1:
            raise Misplaced("takes one argument", f"write {takes}", self.parts[1].behind)
        return self.parts[0]

    def keywords(
        self, names: Collection[str], takes: str
    ) -> tuple[Arguments, Mapping[str, Argument]]:
        """Return the arguments before the first ``name=value``, and the named ones by name."""
        by_name: dict[str, Argument] = {}
        bare: list[Argument] = []
        for part in self.parts:
            named = _NAMED.match(part.text)
            if named is None:
                if by_name:
                    raise Misplaced("expected name=value", f"write {takes}", part.at)
                bare.append(part)
                continue
            name = named[1]
            if name not in names:
                cure = close_to(name, names) or f"write {takes}"
                raise Misplaced(f"does not take {name!r}", cure, part.at)
            if name in by_name:
                raise Misplaced(f"{name!r} is given twice", "keep one of them", part.at)
            value, at = part.text[named.end() :], part.at + named.end()
            by_name[name] = Argument(value, at, part.behind, part.end, part._cursor)
        return Arguments(self.whole, bare), by_name

    def words(self) -> str | None:
        """Return the whole as one text, without quotes around it, or None if it is empty."""
        if self.whole.startswith('"') and len(self.parts) == 1:
            return str(self.parts[0].json())
        return self.whole or None


class Cursor:
    """A position in the text, which moves forward as the text is read."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise Refusal("not text", "pass the text of a rule or a plan", value=text)
        self._text = text
        self._at = 0
        if half := HALF.search(text):
            self.refuse("expected text in UTF-8", half.start())

    def skip_space(self) -> int:
        """Skip white space, and return the index after it."""
        space = _SPACE.match(self._text, self._at)
        assert space is not None  # the pattern also matches the empty text
        self._at = space.end()
        return self._at

    def at_end(self) -> bool:
        """Return whether only white space is left."""
        return self.skip_space() == len(self._text)

    def comes_next(self, token: str) -> bool:
        """Return whether the token comes next."""
        return self._text.startswith(token, self.skip_space())

    def accept(self, token: str) -> bool:
        """Move past the token if it comes next; return whether it did."""
        seen = self.comes_next(token)
        self._at += len(token) * seen
        return seen

    def expect(self, token: str, expected: str, cure: str = "") -> None:
        """Move past the token; refuse anything else."""
        if not self.accept(token):
            self.refuse(f"expected {expected}", cure=cure)

    def accept_match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Move past the match of the pattern, and return it; return None if there is none."""
        match = pattern.match(self._text, self.skip_space())
        if match is not None:
            self._at = match.end()
        return match

    def expect_match(self, pattern: re.Pattern[str], expected: str) -> str:
        """Move past the match of the pattern, and return its text; refuse anything else."""
        match = self.accept_match(pattern)
        if match is None:
            self.refuse(f"expected {expected}")
        return match[0]

    def json(self) -> Any:
        """Read one JSON value."""
        start = self.skip_space()
        try:
            value, self._at = strict_json.first(self._text, start)
        except ValueError as error:
            self.refuse_json(error, getattr(error, "pos", start))
        return value

    def arguments(self) -> Arguments:
        """Read up to the closing parenthesis; commas in brackets or quotes separate nothing."""
        opened = self._at
        parts: list[Argument] = []
        while not parts or self.accept(","):
            parts.append(self.argument(")", behind=self._at - 1 if parts else None))
        whole = self._text[opened : self._at].strip()
        self._at += 1
        return Arguments(whole, parts if whole else ())

    def argument(self, end: str, *, behind: int | None = None) -> Argument:
        """Read up to the first comma, or the ``end``, outside brackets and quotes."""
        start = self.skip_space()
        self._pass_over(end)
        text = self._text[start : self._at].rstrip()
        return Argument(text, start, start if behind is None else behind, end, self)

    def _pass_over(self, end: str) -> None:
        closing: list[str] = []
        for match in _MARK.finditer(self._text, self._at):
            mark, self._at = match[0], match.start()
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
        """Refuse text that is not JSON."""
        reason = error.msg if isinstance(error, JSONDecodeError) else error
        self.refuse(f"expected JSON: {reason}", at, _JSON)

    def refuse(self, problem: str, at: int | None = None, cure: str = "") -> NoReturn:
        """Raise a refusal that states the column and marks it below the text."""
        at = self._at if at is None else at
        start = max(0, at - _WIDTH)
        shown = "".join(c if c.isprintable() else " " for c in self._text[start : at + _WIDTH])
        caret = f"\n    {shown}\n    {' ' * (at - start)}^"
        located = Located(f"column {at + 1}: {problem}", cure or "correct the text there")
        located.picture = caret
        raise located
