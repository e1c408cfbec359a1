"""The fixture `chaos`, the marker ``chaos``, and what every test is looked through for.

A test fails in its own call where a rule of it never fired, a call is still paused or chaospoint
itself failed; it has an error at its teardown where something is left armed or disabled after all
of its fixtures are done. Either way the next test begins with nothing armed.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import TestCase

import pytest

from chaospoint._kernel.reporting import located
from chaospoint._registry.registry import default_registry
from chaospoint.errors import ChaosError
from chaospoint.testing.kit.leftovers import Leftovers, disarm_left, enable_again, take_bugs
from chaospoint.testing.plugin.seeding import repeat_command, seed_of

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint.testing.kit.chaos import Chaos

__all__ = ["add_options", "chaos", "configure"]

_INI = "chaos_must_fire"
_kit = pytest.StashKey["Chaos"]()
_leftovers = pytest.StashKey[Leftovers]()
_problems = pytest.StashKey[list[str]]()
_KEYS: tuple[pytest.StashKey[Any], ...] = (_kit, _leftovers, _problems)
_SHOWN = 20  # injections, in the report of a failure


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add the ini option."""
    del group
    parser.addini(
        _INI,
        "whether a test fails if a rule armed by the fixture or marker `chaos` never fires;"
        " `must_fire` of a rule comes before it",
        type="bool",
        default=True,
    )


def configure(config: pytest.Config) -> None:
    """Look through every test of this run."""
    try:
        config.getini(_INI)
    except ValueError as error:
        raise pytest.UsageError(f"{_INI} in the ini file: {error}; write true or false") from None
    config.addinivalue_line(
        "markers",
        "chaos(point, **keys): arm a fault for the test, with the keys of chaospoint.arm;"
        " must_fire=False if it need not fire",
    )
    config.pluginmanager.register(_Checks(), "chaospoint-checks")


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Chaos:
    """Arm faults for the length of the test, count them, and stage races: see `Chaos`."""
    return _kit_of(request.node)


def _kit_of(item: pytest.Item) -> Chaos:
    if _kit not in item.stash:
        from chaospoint.testing.kit.chaos import Chaos

        must_fire = bool(item.config.getini(_INI))
        item.stash[_kit] = Chaos(seed=seed_of(item), must_fire=must_fire).start()
    return item.stash[_kit]


class _Owned(NamedTuple):
    """What a fixture that outlives a test is to put in order at its own end."""

    rules: tuple[ArmedRule, ...]
    disabled: bool


class _Checks:
    def __init__(self) -> None:
        self._owners: dict[pytest.FixtureDef[Any], _Owned] = {}
        self._left: list[str] = []  # what fixtures that outlive a test did not put in order
        self._item: pytest.Item | None = None  # whose test is under way

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note what is armed before the test."""
        take_bugs()  # of what runs on between tests: of no test, and in the log
        item.stash[_leftovers] = Leftovers(default_registry())
        self._item = item
        try:
            return (yield)
        except BaseException:
            item.stash[_problems] = take_bugs()
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Note what a fixture has armed or disabled that lives longer than the test."""
        if fixturedef.scope == "function":
            return (yield)
        registry = default_registry()
        before, enabled = registry.rules(), registry.enabled
        result = yield  # one that fails here owns nothing: it has no end that would disarm
        known = {*before, *self._rules()}  # of fixtures that this one asked for, too
        owned = _Owned(
            tuple(rule for rule in registry.rules() if rule not in known),
            enabled and not registry.enabled,
        )
        if owned.rules or owned.disabled:
            self._owners[fixturedef] = owned
        return result

    def _rules(self) -> list[ArmedRule]:
        return [rule for owned in self._owners.values() for rule in owned.rules]

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Expect of a fixture that has ended that its rules are disarmed, and the switch is on."""
        owned = self._owners.pop(fixturedef, None)
        if owned is not None:
            by = f"the fixture {fixturedef.argname!r}"
            self._left += disarm_left(default_registry(), owned.rules, by)
            if owned.disabled:
                self._left += enable_again(default_registry(), by)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Arm what the markers say, run the test, and judge it."""
        bugs: list[str] = []
        try:
            with _marked(item):
                result = yield
        except pytest.skip.Exception:
            _end(item)  # it did not say what it is to prove, but it must not hide a bug
            if bugs := take_bugs():
                pytest.fail("\n".join(bugs), pytrace=False)
            raise
        except BaseException:
            item.stash[_problems] = [*_end(item), *take_bugs()]
            raise
        problems, bugs = _end(item), take_bugs()
        raised = getattr(item, "_excinfo", None) or ()  # where unittest keeps what was raised
        if any(not one.errisinstance(pytest.skip.Exception) for one in raised):
            item.stash[_problems] = [*problems, *bugs]
            return result
        if raised:
            problems = []  # it was skipped
        if problems or bugs:
            if raised:
                raised.clear()
            pytest.fail("\n".join([*problems, *bugs]), pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Once all of the test's fixtures are done, see that nothing is left."""
        item.stash[_problems] = []
        try:
            result = yield
        except BaseException:
            item.stash[_problems] = self._end_all(item)
            raise
        if problems := self._end_all(item):
            pytest.fail("\n".join(problems), pytrace=False)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """After Ctrl-C, which leaves a test without teardown, let what cleans up meet no fault."""
        if self._item is not None:
            self._end_all(self._item)

    def _end_all(self, item: pytest.Item) -> list[str]:
        self._item = None
        _end(item)  # of a test whose setup failed, which is not to blame for what never fired
        left, self._left = self._left, []
        off = any(owned.disabled for owned in self._owners.values())
        found = item.stash[_leftovers].problems(self._rules(), disabled_by_owner=off)
        return [*left, *found, *self._taken()]

    def _taken(self) -> Iterator[str]:
        """Tell of what a test took from a fixture that lives on, once."""
        for fixturedef, owned in self._owners.items():
            gone = [rule for rule in owned.rules if rule.why == "disarmed"]
            for rule in gone:
                yield (
                    f"{rule.shown} was disarmed, which the fixture {fixturedef.argname!r} had armed"
                    " for other tests, too: disarm what the test armed"
                )
            rest = tuple(rule for rule in owned.rules if rule not in gone)
            self._owners[fixturedef] = owned._replace(rules=rest)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add to a failure the seed, the command that repeats it and what was injected."""
        report = yield
        if report.failed and "chaospoint.arming" in sys.modules:  # else nothing was ever armed
            report.sections.append(("chaospoint", _told(item)))
        if call.when == "teardown":
            for key in _KEYS:
                if key in item.stash:
                    del item.stash[key]
        return report


def _end(item: pytest.Item) -> list[str]:
    """End what the fixture began, and return what is wrong; nothing if it was ended before."""
    kit = item.stash.get(_kit, None)
    return kit.finish() if kit is not None and kit.active else []


def _told(item: pytest.Item) -> str:
    kit = item.stash.get(_kit, None)
    lines = list(item.stash.get(_problems, None) or ())
    if kit is not None:
        lines += _injected(kit)
    return "\n".join([*lines, f"repeat it: {repeat_command(item)}"])


def _injected(kit: Chaos) -> Iterator[str]:
    history = kit.history
    if len(history) > _SHOWN:
        yield f"{len(history)} injections, the last {_SHOWN}:"
    for one in history[-_SHOWN:]:
        yield f"injected {one.fault} at {one.point}: reach {one.ordinal} of {one.rule}"


# -- the marker ---------------------------------------------------------------------------


def _marks(item: pytest.Item) -> list[pytest.Mark]:
    """Return the markers, the nearest to the test first, and those of one place top to bottom."""
    return [
        mark
        for node in reversed(item.listchain())
        # Decorators are called from the bottom up; those of a module are a list, `pytestmark`.
        for mark in node.own_markers[:: 1 if isinstance(node, pytest.Module) else -1]
        if mark.name == "chaos"
    ]


@contextmanager
def _marked(item: pytest.Item) -> Iterator[None]:
    """Have the test function itself arm what its markers say, in its own thread and task.

    So neither fixtures nor ``setUp`` use up a rule, and one that is scoped to a context acts.
    """
    marks = _marks(item)
    if not marks:
        yield
        return
    kit = _kit_of(item)

    def arm() -> None:
        for mark in reversed(marks):  # what is armed last is tried first
            _arm(kit, mark, item)

    if not isinstance(item, pytest.Function) or _gives_to_a_coroutine(item.obj):
        arm()  # what asyncio runs examples in is a copy of the context that there is now
        yield
        return
    function = item.obj
    item.obj = arming = _arms_first(arm, function)
    owner = item.instance.__dict__ if isinstance(item.instance, TestCase) else {}
    owner[item.name] = arming  # which is where unittest looks for a coroutine function
    try:
        yield
    finally:
        item.obj = function
        owner.pop(item.name, None)


def _gives_to_a_coroutine(function: Callable[..., Any]) -> bool:
    """Whether hypothesis gives its examples to a coroutine function."""
    test = getattr(getattr(function, "hypothesis", None), "inner_test", None)
    return inspect.iscoroutinefunction(test)


def _arms_first(arm: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: object, **kwargs: object) -> object:
            arm()
            return await function(*args, **kwargs)

        return awaited

    @wraps(function)
    def called(*args: object, **kwargs: object) -> object:
        arm()
        return function(*args, **kwargs)

    return called


def _arm(kit: Chaos, mark: pytest.Mark, item: pytest.Item) -> None:
    if len(mark.args) != 1:
        pytest.fail(
            "@pytest.mark.chaos takes a point, a Rule or a Plan without a key, and then keys: "
            f"@pytest.mark.chaos('payment.charge', exception=TimeoutError); not {_written(mark)}",
            pytrace=False,
        )
    path, line, _ = item.reportinfo()
    try:
        with located(str(path), (line or 0) + 1):  # and not to pytest, which calls the test
            kit.arm(*mark.args, **mark.kwargs)
    except ChaosError as error:
        said = f"@pytest.mark.chaos({mark.args[0]!r}, ...): {error}"
    else:
        return
    pytest.fail(said, pytrace=False)


def _written(mark: pytest.Mark) -> str:
    words = [*map(repr, mark.args), *(f"{key}={value!r}" for key, value in mark.kwargs.items())]
    return f"({', '.join(words)})"
