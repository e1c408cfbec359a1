"""What no rule from outside can pass: refused where it is said, cut where it is not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from helpers import Threads, Witness
from pydantic import field_serializer

from chaospoint import InjectedFault, Plan, Registry, armed
from chaospoint._kernel.chance import Draws
from chaospoint._kernel.compiled_rule import CompiledRule
from chaospoint.arming import Origin, install_plan
from chaospoint.effects import Effect, Hold, Raise, Run, Sleep
from chaospoint.errors import LimitExceeded
from chaospoint.faults import Burn, FaultModel, Latency
from chaospoint.faults.lookup import Trust
from chaospoint.plan import parse_plan
from chaospoint.plan.compiling import compile_plan
from chaospoint.plan.limits import NO_LIMITS, Limits
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import Settings
from chaospoint.testing import FakeClock

LIMITS = Limits(max_latency=2.0, max_hang=30.0, max_expires_after=600.0)


class Foreign(FaultModel):
    """A kind of another package, which may say anything when it fires."""

    outcome: ClassVar[bool] = False
    kind: Literal["foreign"] = "foreign"
    made: Any
    waits: bool = False

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        return tuple(self.made(draws) if callable(self.made) else self.made)

    @field_serializer("made")
    def _dump(self, made: object) -> str:
        return "..."

    def resolve(self, trust: Trust, *, reached: bool = False) -> Any:
        return None if self.waits and not reached else self


def foreign(*made: Effect, waits: bool = False) -> Foreign:
    return Foreign(made=made, waits=waits)


def compiled(limits: Limits, *rules: Any, **keys: Any) -> tuple[CompiledRule, ...]:
    return compile_plan(Plan(rules=rules), trust="loaded", limits=limits, **keys)


def effects(limits: Limits, *faults: FaultModel) -> list[Effect]:
    """Return what a rule of these faults does at its first firing, in order."""
    (terms,) = compiled(limits, {"point": "a", "faults": faults})
    return [effect for fault in terms.faults for effect in fault.effects(Draws(7, 1))]


def install(registry: Registry, plan: object, limits: Limits) -> Any:
    return install_plan(parse_plan(plan), origin=Origin("http"), registry=registry, limits=limits)


# What a rule says

BEYOND = [
    ({"latency": "2001ms"}, "a latency of up to 2.001s is more than CHAOSPOINT_MAX_LATENCY=2s"),
    ({"latency": {"seconds": 1.5, "jitter": 0.6}}, "2.1s is more than CHAOSPOINT_MAX_LATENCY=2s"),
    (
        {"latency": {"seconds": 2.5, "jitter": 0.1, "distribution": "normal"}},
        "2.5s is more than CHAOSPOINT_MAX_LATENCY=2s",
    ),
    ({"rule": "delay(2001)"}, "CHAOSPOINT_MAX_LATENCY=2s"),
    ({"rule": "sleep(1100)+delay(1100)"}, "2.2s is more than CHAOSPOINT_MAX_LATENCY=2s"),
    ({"hang": True}, "a hang without end is more than CHAOSPOINT_MAX_HANG=30s"),
    ({"hang": "31s"}, "a hang of 31s is more than CHAOSPOINT_MAX_HANG=30s"),
    ({"rule": "pause+hang(1s)"}, "a hang of 31s, with a pause counted as the limit, is more"),
    ({"rule": "pause+pause"}, "CHAOSPOINT_MAX_HANG=30s"),
    (
        {"latency": 1, "expires_after": "11m"},
        "expires_after=660s is more than CHAOSPOINT_MAX_EXPIRES_AFTER=600s",
    ),
]


@pytest.mark.parametrize(("keys", "said"), BEYOND)
def test_what_a_rule_says_beyond_a_limit_is_refused_with_the_limit(
    registry: Registry, keys: dict[str, object], said: str
) -> None:
    """The whole plan is: nothing of it is armed."""
    plan = [{"point": "a.b", "latency": "1ms"}, {"point": "a.c", **keys}]
    with pytest.raises(LimitExceeded) as caught:
        install(registry, plan, LIMITS)
    assert str(caught.value).startswith("rule 2 ('a.c'): ")
    assert said in str(caught.value)
    assert "restart the service" in str(caught.value)
    assert registry.rules() == ()
    assert compile_plan(parse_plan(plan), trust="loaded")


WITHIN: list[dict[str, object]] = [
    {"latency": "2s"},
    {"latency": {"seconds": 1.9, "jitter": 0.1}},
    {"latency": {"seconds": 2, "jitter": 5, "distribution": "lognormal"}},
    {"rule": "sleep(1900)+delay(100)"},
    {"hang": "30s"},
    {"rule": "pause"},
    {"latency": "2s", "hang": "30s", "expires_after": "10m"},
]


@pytest.mark.parametrize("keys", WITHIN)
def test_what_a_rule_says_up_to_a_limit_is_taken(keys: dict[str, object]) -> None:
    assert compile_plan(parse_plan([{"point": "a", **keys}]), trust="loaded", limits=LIMITS)


def test_parts_that_add_up_to_the_limit_do_not_pass_it() -> None:
    """0.1 + 0.2 is a bit more than 0.3 in floats."""
    limits = Limits(max_latency=0.3)
    jitter = {"seconds": 0.1, "jitter": 0.2}
    (terms,) = compiled(limits, {"point": "a", "latency": jitter})
    assert terms.faults == (Latency(seconds=0.1, jitter=0.2),)
    assert effects(limits, Latency(seconds=0.1), Burn(seconds=0.2)) == [
        Sleep(0.1),
        Sleep(0.2, busy=True),
    ]


FORBIDDEN = [
    ({"latency": 1}, "latency"),
    ({"rule": "sleep(1)"}, "latency"),
    ({"failure_rate": 0.5}, "exception"),
    ({"rule": "latency(1s)+raise"}, "exception"),
    ({"rule": "panic"}, "exception"),
    ({"returns": None}, "return"),
    ({"hang": True}, "hang"),
    ({"rule": "delay(1)"}, "delay"),
    ({"rule": "pause"}, "pause"),
    ({"rule": "yield"}, "yield"),
    ({"rule": "off"}, "off"),
    ({"rule": 'print("m")'}, "print"),
]


@pytest.mark.parametrize(("keys", "kind"), FORBIDDEN)
def test_a_forbidden_kind_is_refused_whatever_it_is_called(
    keys: dict[str, object], kind: str
) -> None:
    plan = parse_plan([{"point": "a", **keys}])
    with pytest.raises(
        LimitExceeded, match=rf"^rule 'a': CHAOSPOINT_FORBIDDEN_KINDS contains '{kind}'; use"
    ):
        compile_plan(plan, trust="loaded", limits=Limits(forbidden_kinds=("call", kind)))
    compile_plan(plan, trust="loaded", limits=Limits(forbidden_kinds=("call",)))


@pytest.mark.parametrize(
    ("given", "default", "expected"),
    [(None, None, 600.0), (None, 300.0, 300.0), (None, 900.0, 600.0), (60, 300.0, 60.0)],
)
def test_a_rule_without_a_lifetime_gets_the_shorter_of_default_and_limit(
    given: float | None, default: float | None, expected: float
) -> None:
    rule = {"point": "a", "latency": 1, "expires_after": given}
    (terms,) = compiled(LIMITS, rule, expires_after=default)
    assert terms.expires_after == expected
    (terms,) = compiled(NO_LIMITS, rule, expires_after=default)
    assert terms.expires_after == (given or default)


# Where it acts


@pytest.mark.parametrize(
    ("forbidden", "point"),
    [
        ("payment.refund", "payment.refund"),
        ("payment.*", "payment.refund"),
        ("payment.*", "payment.*"),
        ("payment.*", "payment.r*"),
        ("*", "*"),
    ],
)
def test_a_rule_on_what_is_forbidden_is_refused(forbidden: str, point: str) -> None:
    limits = Limits(forbidden_points=("auth", forbidden))
    with pytest.raises(LimitExceeded, match="CHAOSPOINT_FORBIDDEN_POINTS contains") as caught:
        compiled(limits, {"point": point, "latency": 1})
    assert repr(forbidden) in str(caught.value)
    assert f"rule {point!r}" in str(caught.value)


def test_a_wider_glob_never_hits_a_forbidden_point(registry: Registry) -> None:
    """Neither one that is there nor one that appears later; all others are hit."""
    made: dict[str, Callable[[], None]] = {}

    def have(*names: str) -> None:
        for name in names:

            @registry.point(name)
            def function() -> None:
                pass

            made[name] = function

    have("payment.charge", "payment.refund", "auth.login")
    limits = Limits(forbidden_points=("payment.refund", "auth.*", "unrelated"))
    install(registry, [{"point": "*", "exception": "InjectedFault"}], limits)
    have("auth.logout", "payment.cancel")
    forbidden = {"payment.refund", "auth.login", "auth.logout"}
    for name, function in made.items():
        if name in forbidden:
            function()
        else:
            with pytest.raises(InjectedFault):
                function()
    with registry.point("auth.check"):  # a block
        pass
    (rule,) = registry.rules()
    assert rule.reaches == rule.injections == len(made) - len(forbidden)


def test_only_what_a_glob_may_cover_is_taken_out_of_it() -> None:
    limits = Limits(forbidden_points=("payment.refund", "auth.login", "*.secret"))
    glob, name = compiled(
        limits, {"point": "payment.*", "latency": 1}, {"point": "payment.charge", "latency": 1}
    )
    assert glob.excluded == ("payment.refund", "*.secret")
    assert name.excluded == ()


# What a rule does without saying so


def test_a_latency_without_bounds_is_cut_at_each_firing(registry: Registry) -> None:
    plan = [{"point": "a", "latency": {"seconds": 1, "jitter": 50, "distribution": "normal"}}]
    drawn = {}
    for limits in (NO_LIMITS, LIMITS):
        (terms,) = compile_plan(parse_plan(plan), trust="loaded", seed=7, limits=limits)
        (fault,) = terms.faults
        assert fault.kind == "latency"
        effects = [fault.effects(Draws(7, ordinal)) for ordinal in range(1, 50)]
        drawn[limits] = [sleep.seconds for (sleep,) in effects if isinstance(sleep, Sleep)]
    assert max(drawn[NO_LIMITS]) > 2.0
    assert drawn[LIMITS] == [min(2.0, seconds) for seconds in drawn[NO_LIMITS]]


def test_what_cannot_pass_is_left_as_it_is() -> None:
    faults = [
        {"kind": "latency", "seconds": 1.0, "jitter": 0.5},
        {"kind": "delay", "seconds": 0.5},
        {"kind": "print", "message": "m"},
        {"kind": "yield"},
        {"kind": "exception", "rate": 0.5},
    ]
    (free,) = compiled(NO_LIMITS, {"point": "a", "faults": faults})
    (limited,) = compiled(LIMITS, {"point": "a", "faults": faults})
    assert list(map(type, limited.faults)) == list(map(type, free.faults))
    (hang,) = compiled(LIMITS, {"point": "a", "latency": 2, "hang": 30})
    assert hang.faults == (Latency(seconds=2), type(hang.faults[1])(seconds=30))


def test_of_the_faults_of_a_rule_each_gets_what_is_left() -> None:
    normal = Latency(seconds=1.5, jitter=1e-9, distribution="normal")
    made = effects(LIMITS, normal, foreign(Sleep(0.2), Sleep(9)), foreign(Sleep(9, busy=True)))
    slept = [one.seconds for one in made if isinstance(one, Sleep)]
    assert slept == [pytest.approx(1.5), 0.2, pytest.approx(0.3), 0.0]
    assert math.fsum(slept) == pytest.approx(2.0)
    assert made[-1] == Sleep(0.0, busy=True)


def test_kinds_of_other_packages_cannot_widen_a_limit() -> None:
    strange = foreign(Sleep(-100.0), Sleep(math.nan), Sleep(math.inf))
    assert effects(LIMITS, strange) == [Sleep(0.0), Sleep(2.0), Sleep(0.0)]
    assert effects(Limits(max_hang=30.0), foreign(Hold(20.0), Sleep(99), Hold(20.0))) == [
        Hold(20.0),
        Sleep(99),
        Hold(10.0),
    ]


def test_where_one_span_is_limited_the_other_is_not() -> None:
    hold, run = Hold(None), Run(print)
    assert effects(Limits(max_latency=1.0), foreign(hold, run, Sleep(5))) == [hold, run, Sleep(1.0)]
    pause = Hold(None, releasable=True)
    assert effects(Limits(max_hang=1.0), foreign(Sleep(5), pause)) == [
        Sleep(5),
        Hold(1.0, releasable=True),
    ]


def test_a_hang_without_end_that_is_cut_is_a_late_answer() -> None:
    late = Raise(OSError, "OSError")
    hold, outcome = effects(LIMITS, foreign(Hold(None), late))
    assert hold == Hold(30.0)
    assert isinstance(outcome, Raise)
    assert repr(outcome.build()) == "TimeoutError('no answer for 30 s')"
    assert effects(LIMITS, foreign(Hold(99.0), late)) == [Hold(30.0), late]


def test_many_delaying_faults_are_worked_out_quickly() -> None:
    """Each looks at those before it, and must not make them look in their turn."""
    asked = []

    def once(draws: Draws) -> tuple[Effect, ...]:
        asked.append(draws)
        return (Sleep(0.1),)

    made = effects(LIMITS, *[Foreign(made=once)] * 60)
    assert math.fsum(one.seconds for one in made if isinstance(one, Sleep)) == pytest.approx(2.0)
    assert len(asked) <= 60 * 61


def test_what_waits_for_an_import_is_cut_when_it_is_looked_up(registry: Registry) -> None:
    (terms,) = compiled(LIMITS, {"point": "a", "faults": [foreign(Sleep(99), waits=True)]})
    assert terms.resolve is not None
    (fault,) = terms.resolve()
    assert fault.effects(Draws(7, 1)) == (Sleep(2.0),)


def test_a_constant_rule_stays_constant(still: Registry, clock: FakeClock, pool: Threads) -> None:
    """What draws nothing is asked at the first firing, and not again."""
    asked = []

    def once(draws: Draws) -> tuple[Effect, ...]:
        asked.append(draws)
        return (Sleep(99),)

    rule = {"point": "a", "faults": [Foreign(made=once)]}
    install(still, Plan(rules=[rule]), LIMITS)  # type: ignore[list-item]
    seen = Witness()
    still.add_observer(seen)
    point, before = still.point("a"), 0
    for nth in range(3):
        call = pool.submit(point.hit)
        clock.until_waiting(2.0)
        clock.advance(2.0)
        call.result(10)
        before = before or len(asked)
        assert len(asked) == before, nth
    assert [one.latency for one in seen.injections] == [2.0] * 3, "told as it was"


# Time itself


def test_a_pause_that_is_cut_lets_the_call_go_on(
    still: Registry, clock: FakeClock, pool: Threads
) -> None:
    install(still, [{"point": "a", "rule": "pause"}, {"point": "b", "rule": "pause+raise"}], LIMITS)
    calls = [pool.submit(still.point(name).hit) for name in "ab"]
    clock.until_waiting(30.0, count=2)
    clock.advance(30.0)
    assert calls[0].result(10) is None
    assert isinstance(calls[1].exception(10), InjectedFault), "as if it had been released"
    again = pool.submit(still.point("a").hit)
    clock.until_waiting(30.0)
    assert still.release("a") == 1
    assert again.result(10) is None


def test_a_cut_span_ends_in_a_task_as_in_a_thread(still: Registry, clock: FakeClock) -> None:
    rules = [
        {"point": "a", "faults": [foreign(Sleep(99))]},
        {"point": "b", "faults": [foreign(Hold(None))]},
    ]
    install(still, Plan(rules=rules), LIMITS)  # type: ignore[arg-type]

    async def main() -> None:
        first = asyncio.ensure_future(still.point("a").ahit())
        second = asyncio.ensure_future(still.point("b").ahit())
        while not {2.0, 30.0} <= set(clock.waiting):
            await asyncio.sleep(0)
        clock.advance(2.0)
        assert await first is None
        clock.advance(28.0)
        with pytest.raises(TimeoutError, match="no answer for 30 s"):
            await second

    asyncio.run(main())


# Where limits come from


def test_env_and_file_obey_the_limits_of_their_settings(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("rules: [{point: a.x, rule: latency(5s)}]")
    settings = Settings(
        enabled=True,
        config=plan,
        points="a.y=latency(1s)",
        max_latency="2s",  # type: ignore[arg-type]
        max_expires_after="5m",  # type: ignore[arg-type]
        forbidden_points="b.*",  # type: ignore[arg-type]
    )
    sources = Sources(settings, registry)
    assert sources.read_env() == "env: 1 rule"
    (rule,) = registry.rules()
    assert rule.terms.expires_after == 300.0
    assert sources.read_file() == f"file {plan}: refused"
    assert "CHAOSPOINT_MAX_LATENCY=2s" in caplog.text
    plan.write_text("rules: [{point: '*', latency: 2s}]")
    assert sources.read_file() == f"file {plan}: 1 rule"
    assert [rule.excluded for rule in registry.rules() if rule.source == "file"] == [("b.*",)]
    sources.clear()


def test_code_in_its_own_process_has_no_limits(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSPOINT_MAX_LATENCY", "1s")
    monkeypatch.setenv("CHAOSPOINT_FORBIDDEN_KINDS", "latency")
    registry.point("a")
    with armed("a", latency="5s", registry=registry):
        (rule,) = registry.rules()
        assert rule.faults == (Latency(seconds=5.0),)
