"""The fixture `chaos`, and the checks after every test.

A test fails if a rule of its own never fired, a call is still paused, or chaospoint itself had an
error. It has an error at teardown if a rule is left armed, or chaospoint disabled, after all of
its fixtures have finished. In both cases the next test starts with nothing armed.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from chaospoint._registry.registry import default_registry
from chaospoint.testing.kit.leftovers import Leftovers, disarm_left, enable_again, take_bugs
from chaospoint.testing.plugin.marker import describe_marker, marked
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
_SHOWN = 20  # injections in the report of a failure


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add the ini option."""
    del group
    parser.addini(
        _INI,
        "fail a test if a rule armed by the fixture or marker `chaos` never fires;"
        " `must_fire` of a single rule takes precedence",
        type="bool",
        default=True,
    )


def configure(config: pytest.Config) -> None:
    """Register the marker and the checks."""
    try:
        config.getini(_INI)
    except ValueError as error:
        raise pytest.UsageError(f"{_INI} in the ini file: {error}: write true or false") from None
    describe_marker(config)
    config.pluginmanager.register(_Checks(), "chaospoint-checks")


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Chaos:
    """A chaospoint.testing.Chaos: arm faults for this test, count calls, and stage races.

    ``chaos.arm("payment.charge", exception=TimeoutError)`` arms a fault until the end of the test.
    The test fails if the fault never fires; ``must_fire=False`` allows that. ``chaos.history`` is
    a tuple of the injections so far.
    """
    return _kit_of(request.node)


def _kit_of(item: pytest.Item) -> Chaos:
    if _kit not in item.stash:
        from chaospoint.testing.kit.chaos import Chaos

        must_fire = bool(item.config.getini(_INI))
        item.stash[_kit] = Chaos(seed=seed_of(item), must_fire=must_fire).start()
    return item.stash[_kit]


class _Owned(NamedTuple):
    """The rules that a fixture of a wider scope armed, and whether it disabled chaospoint."""

    rules: tuple[ArmedRule, ...]
    disabled: bool


class _Checks:
    def __init__(self) -> None:
        self._owners: dict[pytest.FixtureDef[Any], _Owned] = {}
        self._left: list[str] = []  # problems of fixtures with a wider scope
        self._item: pytest.Item | None = None  # the test that is running

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Record what is armed before the test."""
        take_bugs()  # errors between tests belong to no test; they are in the log
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
        """Record what a fixture of a wider scope than the test arms or disables."""
        if fixturedef.scope == "function":
            return (yield)
        registry = default_registry()
        before, enabled = registry.rules(), registry.enabled
        result = yield  # a fixture that fails here owns nothing, because it has no teardown
        known = {*before, *self._rules()}  # also the rules of fixtures that this one requested
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
        """Check that a fixture of a wider scope disarmed its rules and enabled chaospoint again."""
        owned = self._owners.pop(fixturedef, None)
        if owned is not None:
            by = f"the fixture {fixturedef.argname!r}"
            self._left += disarm_left(default_registry(), owned.rules, by)
            if owned.disabled:
                self._left += enable_again(default_registry(), by)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Arm the faults of the markers, run the test, and fail it if there are problems."""
        bugs: list[str] = []
        try:
            with marked(item, _kit_of):
                result = yield
        except pytest.skip.Exception:
            _end(item)  # rules of a skipped test need not fire, but internal errors still count
            if bugs := take_bugs():
                pytest.fail("\n".join(bugs), pytrace=False)
            raise
        except BaseException:
            item.stash[_problems] = [*_end(item), *take_bugs()]
            raise
        problems, bugs = _end(item), take_bugs()
        raised = (
            getattr(item, "_excinfo", None) or ()
        )  # pytest collects exceptions of unittest here
        if any(not info.errisinstance(pytest.skip.Exception) for info in raised):
            item.stash[_problems] = [*problems, *bugs]
            return result
        if raised:
            problems = []  # the test was skipped
        if problems or bugs:
            if raised:
                raised.clear()
            pytest.fail("\n".join([*problems, *bugs]), pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Check, after all fixtures of the test have finished, that nothing is left."""
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
        """After Ctrl-C, which skips the teardown, disarm everything before other cleanup runs."""
        if self._item is not None:
            self._end_all(self._item)

    def _end_all(self, item: pytest.Item) -> list[str]:
        self._item = None
        _end(item)  # after a failed setup; rules that never fired are then not a problem
        left, self._left = self._left, []
        off = any(owned.disabled for owned in self._owners.values())
        problems = item.stash[_leftovers].problems(self._rules(), disabled_by_owner=off)
        return [*left, *problems, *self._taken()]

    def _taken(self) -> Iterator[str]:
        """Yield a problem, once, for each rule of a wider fixture that a test disarmed."""
        for fixturedef, owned in self._owners.items():
            gone = [rule for rule in owned.rules if rule.why == "disarmed"]
            for rule in gone:
                yield (
                    f"{rule.shown} was disarmed, but the fixture {fixturedef.argname!r} had armed"
                    " it for other tests too: disarm only what this test armed"
                )
            rest = tuple(rule for rule in owned.rules if rule not in gone)
            self._owners[fixturedef] = owned._replace(rules=rest)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add the problems, the injections and the command that repeats the test to a failure."""
        report = yield
        if (
            report.failed and "chaospoint.arming" in sys.modules
        ):  # without it, nothing was ever armed
            report.sections.append(("chaospoint", _section(item)))
        if call.when == "teardown":
            for key in _KEYS:
                if key in item.stash:
                    del item.stash[key]
        return report


def _end(item: pytest.Item) -> list[str]:
    """Finish the `Chaos` of a test and return its problems; nothing if it has finished before."""
    kit = item.stash.get(_kit, None)
    return kit.finish() if kit is not None and kit.active else []


def _section(item: pytest.Item) -> str:
    kit = item.stash.get(_kit, None)
    lines = list(item.stash.get(_problems, None) or ())
    if kit is not None:
        lines += _injected(kit)
    return "\n".join([*lines, f"repeat it: {repeat_command(item)}"])


def _injected(kit: Chaos) -> Iterator[str]:
    history = kit.history
    if len(history) > _SHOWN:
        yield f"{len(history)} injections, the last {_SHOWN}:"
    for injection in history[-_SHOWN:]:
        at = f"reach {injection.ordinal} of {injection.rule}"
        yield f"injected {injection.fault} at {injection.point}: {at}"
