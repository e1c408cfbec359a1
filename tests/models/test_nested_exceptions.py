"""Exceptions within exceptions: types and members among the arguments, and causes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from chaospoint._kernel.chance import Draws
from chaospoint._kernel.effects import Raise
from chaospoint.errors import InjectedFault, InvalidPlan
from chaospoint.faults.lookup import Trust
from chaospoint.plan import Plan, Rule, parse_plan
from chaospoint.plan.compiling import compile_plan

TRUSTS: tuple[Trust, ...] = ("code", "deferred", "loaded")
HERE = __name__


class Colour(Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796


class Status(Exception):
    def __init__(self, code: HTTPStatus, *, details: object = None) -> None:
        super().__init__(f"status {code.value}")
        self.code, self.details = code, details


class Wrapped(Exception):
    def __init__(self, statement: str, params: dict[str, object], orig: Exception) -> None:
        super().__init__(f"({type(orig).__name__}) {orig}")
        self.params, self.orig = params, orig


def built(exception: object, trust: Trust = "loaded") -> BaseException:
    """Build one as a rule from outside does; twice, to see that each is made anew."""
    plan = parse_plan({"rules": [{"point": "a", "exception": exception}]})
    (terms,) = compile_plan(plan, trust=trust)
    faults = terms.resolve() if terms.resolve else terms.faults
    (effect,) = faults[0].effects(Draws(1, 1))
    assert isinstance(effect, Raise)
    first, second = effect.build(), effect.build()
    assert first is not second
    assert effect.name == type(first).__name__
    return second


@pytest.mark.parametrize("trust", TRUSTS)
def test_a_type_among_the_arguments_is_built(trust: Trust) -> None:
    nested = {
        "type": f"{HERE}.Wrapped",
        "args": ["q", {}, {"type": "json.JSONDecodeError", "args": ["bad", "doc", 0]}],
    }
    made = built(nested, trust)
    assert isinstance(made, Wrapped)
    assert type(made.orig).__name__ == "JSONDecodeError"
    assert (made.params, str(made)) == ({}, "(JSONDecodeError) bad: line 1 column 1 (char 0)")


@pytest.mark.parametrize("trust", TRUSTS)
def test_a_member_of_an_enumeration_is_found(trust: Trust) -> None:
    member = {"enum": "http.HTTPStatus.SERVICE_UNAVAILABLE"}
    made = built(
        {"type": f"{HERE}.Status", "args": [member], "kwargs": {"details": [member, 1]}}, trust
    )
    assert isinstance(made, Status)
    assert made.code is HTTPStatus.SERVICE_UNAVAILABLE
    assert made.details == [HTTPStatus.SERVICE_UNAVAILABLE, 1]
    alias = built({"type": "ValueError", "args": [{"enum": f"{HERE}.Colour.CRIMSON"}]}, trust)
    assert alias.args == (Colour.RED,)


@pytest.mark.parametrize("trust", TRUSTS)
def test_a_cause_is_set(trust: Trust) -> None:
    made = built(
        {
            "type": "ConnectionError",
            "args": ["refused"],
            "cause": {"type": "OSError", "args": [111, "no"], "cause": "ValueError"},
        },
        trust,
    )
    assert made.__cause__ is not None
    assert repr(made.__cause__) == "ConnectionRefusedError(111, 'no')"
    assert isinstance(made.__cause__.__cause__, ValueError)
    assert made.__suppress_context__
    bare = built({"cause": "KeyError"}, trust)
    assert isinstance(bare, InjectedFault)
    assert isinstance(bare.__cause__, KeyError)
    assert str(bare) == "injected by chaospoint"


def test_they_are_found_in_lists_and_mappings_and_made_anew() -> None:
    group = {
        "type": "ExceptionGroup",
        "args": ["many", [{"type": "ValueError"}, {"type": "InjectedFault"}]],
    }
    first, second = built(group), built(group)
    assert isinstance(first, ExceptionGroup)
    assert isinstance(second, ExceptionGroup)
    assert list(map(type, first.exceptions)) == [ValueError, InjectedFault]
    assert first.exceptions[0] is not second.exceptions[0]
    deep = built(
        {"type": "ValueError", "args": [{"errors": {"a": [{"type": "KeyError", "args": ["k"]}]}}]}
    )
    assert repr(deep.args) == "({'errors': {'a': [KeyError('k')]}},)"


@pytest.mark.parametrize(
    "data",
    [
        {"type": "card_error", "message": "declined"},
        {"type": "card_error"},
        {"type": "invoice.paid"},
        {"type": 3},
        {"type": "ValueError", "code": 3},
        {"enum": "red"},
        {"enum": "a.b"},
        {"enum": "http.HTTPStatus.OK", "more": 1},
        {"enum": 3},
        {"Error": {"Code": "Throttling", "Type": "Sender"}, "type": None},
        {"type": "list"},
    ],
)
def test_other_data_with_a_type_stays_as_it_is(data: Any) -> None:
    assert built({"type": "ValueError", "args": [data, [data]]}).args == (data, [data])
    assert built({"type": f"{HERE}.Keywords", "kwargs": data}).args == (data,)


class Keywords(Exception):
    def __init__(self, **given: object) -> None:
        super().__init__(given)


@pytest.mark.parametrize(
    ("exception", "words"),
    [
        (
            {"type": "ValueError", "args": [1, {"type": "nowhere_at.all.Error"}]},
            r"exception.args\[1\].*(no module is named|not found in the modules)",
        ),
        (
            {"type": "ValueError", "args": [{"type": "KeyError", "args": 3}]},
            r"exception.args\[0\].args=3: not a list",
        ),
        ({"type": "ValueError", "args": [{"type": "SystemExit"}]}, "only by rules that code arms"),
        ({"type": "ValueError", "cause": "KeyboardInterrupt"}, "only by rules that code arms"),
        (
            {"type": "ValueError", "cause": "Valueerror"},
            "exception.cause.*did you mean 'ValueError'",
        ),
        ({"type": "ValueError", "cause": {"typ": "KeyError"}}, "exception.cause.typ.*unknown key"),
        (
            {"type": "ValueError", "args": [{"enum": "http.HTTPStatus.OKAY"}]},
            "'http.HTTPStatus' has no 'OKAY'",
        ),
        (
            {"type": "ValueError", "args": [{"enum": "os.path.sep"}]},
            "'os.path' is not an enumeration",
        ),
        (
            {"type": "ValueError", "args": [{"enum": "json.JSONDecodeError.msg"}]},
            "is not an enumeration",
        ),
        (
            {"type": "ValueError", "cause": {"type": "UnicodeDecodeError"}},
            "cannot be built: TypeError",
        ),
    ],
)
@pytest.mark.parametrize("trust", ["deferred", "loaded"])
def test_the_trust_of_the_outer_type_holds_for_all(
    exception: Any, words: str, trust: Trust
) -> None:
    with pytest.raises(InvalidPlan, match=words):
        built(exception, trust)


def test_they_are_nested_so_deep_and_no_deeper() -> None:
    def nested(levels: int) -> dict[str, object]:
        exception: dict[str, object] = {"type": "ValueError"}
        for _ in range(levels - 1):
            exception = {"type": "ValueError", "cause": exception}
        return exception

    made: BaseException | None = built(nested(8))
    for _ in range(8):
        assert isinstance(made, ValueError)
        made = made.__cause__
    assert made is None
    for too_deep in (nested(9), {"type": "ValueError", "args": [nested(8)]}):
        with pytest.raises(InvalidPlan, match="exceptions are nested too deep; nest at most 8"):
            built(too_deep)


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that nobody has imported yet."""
    text = "import enum\nclass Late(Exception): pass\nclass Kind(enum.Enum):\n    ONE = 1\n"
    (tmp_path / "chaos_later.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("chaos_later", None)


@pytest.mark.parametrize(
    "exception",
    [
        {"type": "ValueError", "args": [{"type": "chaos_later.Late"}]},
        {"type": "ValueError", "args": [{"enum": "chaos_later.Kind.ONE"}]},
        {"type": "ValueError", "cause": "chaos_later.Late"},
    ],
)
def test_what_is_not_imported_waits_for_the_first_reach_or_is_refused(
    later: None, exception: Any
) -> None:
    plan = parse_plan([{"point": "a", "exception": exception}])
    with pytest.raises(
        InvalidPlan, match="not found in the modules that this process has imported"
    ):
        compile_plan(plan, trust="loaded")
    (terms,) = compile_plan(plan, trust="deferred")
    assert terms.resolve is not None
    assert "chaos_later" not in sys.modules
    made = built(exception, "deferred")
    assert "chaos_later" in sys.modules
    assert "Late" in f"{made!r} {made.__cause__!r}" or "Kind" in repr(made)
    del sys.modules["chaos_later"]
    assert built(exception, "code")


@pytest.mark.parametrize(
    "exception",
    [
        {"type": f"{HERE}.Wrapped", "args": ["q", {}, {"type": "KeyError", "args": ["k"]}]},
        {"type": "ValueError", "args": [{"enum": "http.HTTPStatus.OK"}, [{"type": "KeyError"}]]},
        {"type": "ValueError", "cause": "KeyError"},
        {"type": "ValueError", "cause": {"type": "KeyError", "args": ["k"], "cause": "OSError"}},
        {"cause": "KeyError"},
        [{"type": "ValueError", "cause": "KeyError", "weight": 3}, "OSError"],
    ],
)
def test_text_and_dump_read_back(exception: Any) -> None:
    rule = Rule(point="a", exception=exception)
    assert Rule.parse(str(rule)) == rule
    assert str(Rule.parse(str(rule))) == str(rule)
    dumped = rule.model_dump(mode="json")
    assert Plan.read({"rules": [dumped]}).rules == (rule,)
    assert repr(built(dumped["faults"][0]["exception"])) == repr(built(exception))


def test_code_nests_classes_and_functions() -> None:
    class Local(Exception):
        pass

    nested = {"type": ValueError, "args": [{"type": Local, "args": [1]}], "cause": Local("why")}
    rule = Rule(point="a", exception=nested)
    (terms,) = compile_plan(Plan(rules=[rule]), trust="code")
    (effect,) = terms.faults[0].effects(Draws(1, 1))
    assert isinstance(effect, Raise)
    made = effect.build()
    assert repr(made) == "ValueError(Local(1))"
    assert repr(made.__cause__) == "Local('why')"
    assert "<code only>" in str(rule)
