"""An exception given as an instance comes out as it is, whatever keeps what it is."""

from __future__ import annotations

import errno
import ssl
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import chaospoint
from chaospoint._kernel.injection import injection_of
from chaospoint.errors import InvalidPlan
from chaospoint.plan import Rule


class Keyword(Exception):
    """Cannot be built from its arguments."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"because of {reason}")
        self.reason = reason


class Slotted(ValueError):
    __slots__ = ("__private", "code", "unset")

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code = code
        self.__private = [code]

    @property
    def private(self) -> list[int]:
        return self.__private


class Frozen(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        object.__setattr__(self, "code", code)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("frozen")


class Reduced(Exception):
    def __init__(self, request: str, response: str) -> None:
        super().__init__(f"{response} to {request}")
        self.request, self.response = request, response

    def __reduce__(self) -> Any:
        return partial(Reduced, self.request, response=self.response), ()


class Counted(Exception):
    made = 0

    def __init__(self) -> None:
        Counted.made += 1
        self.nth = Counted.made
        super().__init__(f"number {self.nth}")


class Once(Exception):
    """Cannot be built a second time at all."""

    made = 0

    def __new__(cls, *args: object) -> Once:
        cls.made += 1
        if cls.made > 1:
            raise RuntimeError("only once")
        return super().__new__(cls, *args)


class Random(Exception):
    """Says something else each time it is asked."""

    asked = 0

    def __str__(self) -> str:
        Random.asked += 1
        return f"asked {Random.asked} times"


def with_attributes(error: BaseException, **attributes: object) -> BaseException:
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def failed_lookup() -> BaseException:
    try:
        "text".nothing  # type: ignore[attr-defined]  # noqa: B018
    except AttributeError as error:
        return error
    raise AssertionError


def raised_in_earnest() -> BaseException:
    try:
        Path("/nowhere/at/all").read_text()
    except OSError as error:
        return error
    raise AssertionError


PATTERNS: list[Callable[[], BaseException]] = [
    lambda: OSError(errno.ENOENT, "gone", "a file", None, "another"),
    lambda: with_attributes(OSError(errno.EIO, "gone"), filename="later", extra=[1]),
    lambda: with_attributes(OSError("text"), errno=errno.EPIPE),
    lambda: with_attributes(BlockingIOError(errno.EAGAIN, "full"), characters_written=7),
    raised_in_earnest,
    failed_lookup,
    lambda: UnicodeDecodeError("utf-8", b"\xff\xfe", 0, 1, "bad"),
    lambda: with_attributes(UnicodeDecodeError("utf-8", b"\xff\xfe", 0, 1, "bad"), start=1),
    lambda: UnicodeEncodeError("ascii", "ä", 0, 1, "bad"),
    lambda: SyntaxError("bad", ("file.py", 3, 5, "a b c", 3, 6)),
    lambda: with_attributes(SyntaxError("bad"), lineno=7, filename="f"),
    lambda: ImportError("no", name="mod", path="/a/path"),
    lambda: NameError("no", name="nam"),
    lambda: AttributeError("no", name="nam", obj=[1]),
    lambda: KeyError("key"),
    lambda: SystemExit(3),
    lambda: with_attributes(SystemExit(3), code=4),
    lambda: KeyboardInterrupt("stop"),
    lambda: ExceptionGroup("many", [ValueError("a"), OSError(2, "b")]),
    lambda: ssl.SSLCertVerificationError(1, "certificate verify failed"),
    lambda: Keyword(reason="x"),
    lambda: Slotted(7),
    lambda: Frozen(7),
    lambda: Reduced("GET", "503"),
    Counted,
]
SKIPPED = {"__traceback__", "__context__", "__dict__", "__notes__", "__suppress_context__"}


def injected(exception: Any) -> BaseException:
    point = chaospoint.point("patterns.it")
    with chaospoint.armed(point, exception=exception):
        try:
            point.hit()
        except BaseException as error:
            return error
    raise AssertionError("nothing was raised")


def attributes(error: BaseException) -> dict[str, object]:
    """Return all that the exception has, whoever keeps it."""
    names = [name for name in dir(error) if name not in SKIPPED and "injection" not in name]
    found = {name: getattr(error, name, None) for name in names}
    return {
        name: value
        for name, value in found.items()
        if not callable(value) and not isinstance(value, BaseException)
    }


@pytest.mark.parametrize("make", PATTERNS)
def test_an_instance_comes_out_as_it_is(make: Callable[[], BaseException]) -> None:
    pattern = make()
    object.__setattr__(pattern, "__cause__", ValueError("the cause"))
    vars(pattern)["__notes__"] = ["of the pattern"]
    before = attributes(pattern)
    first, second = injected(pattern), injected(pattern)
    for error in (first, second):
        assert type(error) is type(pattern)
        assert attributes(error) == before
        assert (str(error), repr(error)) == (str(pattern), repr(pattern))
        assert error.__cause__ is pattern.__cause__
        assert error.__notes__[0] == "of the pattern"
        assert len(error.__notes__) == 2
        assert "the cause" in "".join(traceback.format_exception(error))
        assert injection_of(error)
    assert len({id(pattern), id(first), id(second)}) == 3
    assert pattern.__notes__ == ["of the pattern"]
    assert injection_of(pattern) is None


@pytest.mark.parametrize("make", PATTERNS[:-1])
def test_what_the_arguments_say_alone_is_written_down(make: Callable[[], BaseException]) -> None:
    pattern = make()
    text = str(Rule(point="a", exception=pattern))
    if "<code only>" in text:
        return
    again = injected(Rule.parse(text).faults[0].exception.specs[0])  # type: ignore[attr-defined]
    assert attributes(again) == attributes(pattern)


def test_the_arguments_of_an_instance_are_written_down_unless_it_keeps_more() -> None:
    assert (
        str(Rule(point="a", exception=OSError(2, "gone"))) == 'a=raise(FileNotFoundError,2,"gone")'
    )
    noted = OSError(2, "gone")
    noted.add_note("more")
    for pattern in (noted, Keyword(reason="x"), Slotted(3)):
        assert "<code only>" in str(Rule(point="a", exception=pattern))


def test_an_injected_exception_is_a_pattern_without_our_note() -> None:
    first = injected(OSError(2, "gone"))
    again = injected(first)
    assert again.__notes__ == first.__notes__
    assert len(again.__notes__) == 1


@pytest.mark.parametrize(
    ("make", "why"), [(Once, "RuntimeError: only once"), (Random, "the copy is different")]
)
def test_what_cannot_be_built_again_is_refused(make: type[Exception], why: str) -> None:
    with pytest.raises(InvalidPlan, match=rf"cannot be copied: {why}.*lambda: {make.__name__}"):
        Rule(point="a", exception=make("x"))
    assert isinstance(injected(lambda: ValueError("x")), ValueError)  # the cure works
