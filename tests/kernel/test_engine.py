"""The engine: order, replacing, disarming in part, the switch and expiry."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers import Standing

from chaospoint import Registry
from chaospoint._kernel.lock import arming_lock
from chaospoint._registry import engine
from chaospoint._registry.notices import Reached, RuleArmed, RuleDisarmed, Switched
from chaospoint.errors import NotPermitted, UnknownPoint, UnsupportedFault
from chaospoint.testing import FakeClock

from .kit import PATIENCE, Boom, Does, Witness, answers, hangs, raises, rule, sleeps

PASS = Does("off", ())


@pytest.fixture(autouse=True)
def points(registry: Registry) -> None:
    for name in ("p", "pay.a", "pay.b", "ship.a"):
        registry.point(name)


def install(registry: Registry, *terms: Any, source: Any = "test", **keys: Any) -> Any:
    return registry.install(terms, source=source, **keys)


def replace(registry: Registry, *terms: Any, source: Any = "env", **keys: Any) -> Any:
    return registry.replace(terms, source=source, **keys)


def texts(registry: Registry, point: str | None = None) -> list[str]:
    return [one.text for one in registry.rules(point)]


# -- the order -----------------------------------------------------------------------------


def test_sources_are_tried_in_order_and_newest_first(registry: Registry) -> None:
    replace(registry, rule("p", PASS, text="file 1"), rule("p", PASS, text="file 2"), source="file")
    for source in ("code", "http", "test", "store"):
        for n in (1, 2):
            install(registry, rule("p", PASS, text=f"{source} {n}"), source=source)
    replace(registry, rule("p", PASS, text="env 1"), rule("p", PASS, text="env 2"))
    expected = [
        *("test 2", "test 1", "code 2", "code 1"),  # one tier: newest first
        *("store 2", "store 1", "http 2", "http 1"),
        *("env 1", "env 2", "file 1", "file 2"),  # plan order
    ]
    assert texts(registry) == expected
    assert texts(registry, "p") == expected


def test_the_order_is_the_order_in_which_rules_are_tried(registry: Registry) -> None:
    @registry.point("p")
    def function() -> None:
        pass

    for source in ("file", "env"):
        replace(registry, rule("p", raises(), text=source, times=1), source=source)
    for source in ("http", "code"):
        install(registry, rule("p", raises(), text=source, times=1), source=source)
    tried = []
    for call in (function, registry.point("p").hit, function, function):
        with pytest.raises(Boom) as caught:
            call()
        tried.append(caught.value.__notes__[0].split(": ")[1].split(" ")[0])
    assert tried == ["code", "http", "env", "file"]
    function()


def test_within_a_plan_its_order_and_globs_stand_where_they_are_written(
    registry: Registry,
) -> None:
    install(
        registry,
        rule("pay.*", PASS, text="1", times=1),
        rule("pay.a", PASS, text="2"),
        rule("*", PASS, text="3"),
    )
    assert texts(registry, "pay.a") == ["1", "2", "3"]
    assert texts(registry, "pay.b") == ["1", "3"]
    assert texts(registry, "ship.a") == ["3"]
    install(registry, rule("pay.a", PASS, text="newer"))
    assert texts(registry, "pay.a") == ["newer", "1", "2", "3"]


def test_off_masks_what_stands_below(registry: Registry) -> None:
    below = install(registry, rule("p", raises(), text="below"))
    install(registry, rule("p", PASS, text="off", times=2))
    point = registry.point("p")
    point.hit()
    point.hit()
    assert (below.reaches, below.rules[0].shadowed) == (0, 2)
    with pytest.raises(Boom):
        point.hit()


# -- arming ---------------------------------------------------------------------------------


def test_arming_again_adds(registry: Registry) -> None:
    first = install(registry, rule("p", PASS, text="same"))
    second = install(registry, rule("p", PASS, text="same"))
    assert len(registry.rules()) == 2
    first.disarm()
    assert registry.rules() == second.rules
    first.disarm()  # again is no error
    assert registry.rules() == second.rules


def test_a_point_that_appears_is_armed_by_name_and_glob(registry: Registry) -> None:
    with pytest.warns(UserWarning, match="no point is named"):
        install(registry, rule("new.a", PASS), rule("new.*", PASS))
    point = registry.point("new.a")
    assert point.armed
    assert len(registry.rules("new.a")) == 2
    assert not registry.point("other").armed


def test_an_unknown_name_is_said_with_the_nearest(registry: Registry) -> None:
    said = "no point is named 'pay.aa' yet: the rule waits for one"
    with pytest.warns(UserWarning, match=said) as caught:
        install(registry, rule("pay.aa", PASS))
    assert "the nearest: pay.a" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_from_outside_it_is_logged(registry: Registry, log: pytest.LogCaptureFixture) -> None:
    install(registry, rule("nobody", PASS), source="http")
    (said,) = [one for one in log.records if one.levelname == "WARNING"]
    assert said.getMessage().startswith("no point is named 'nobody' yet")
    assert said.getMessage().endswith("(armed by http)")


def test_strict_refuses_an_unknown_name_and_arms_nothing(registry: Registry) -> None:
    with pytest.raises(UnknownPoint) as caught:
        install(registry, rule("p", PASS), rule("pay.aa", PASS), strict=True)
    assert "pay.a" in str(caught.value)
    assert "pay.a" in caught.value.close
    assert registry.rules() == ()
    assert not registry.point("p").armed
    install(registry, rule("pay.*", PASS), strict=True)


def test_a_warning_that_is_an_error_arms_nothing(registry: Registry) -> None:
    with pytest.raises(UserWarning, match="no point is named"):  # filterwarnings=error
        install(registry, rule("nobody", PASS), rule("p", PASS))
    assert registry.rules() == ()
    assert not registry.point("p").armed


def test_what_no_placement_can_express_is_refused_whole(registry: Registry) -> None:
    with pytest.raises(UnsupportedFault, match="a block or a statement has no value to return"):
        install(registry, rule("pay.a", PASS), rule("p", answers(1)))
    assert registry.rules() == ()


def test_what_some_placements_cannot_express_is_said(registry: Registry) -> None:
    @registry.point("pay.a")
    def function() -> int:
        return 1

    with pytest.warns(UserWarning, match="'return' is left out at 'pay.b': a block"):
        install(registry, rule("pay.*", answers(2)))
    assert function() == 2
    registry.point("pay.b").hit()


def test_a_rule_that_can_never_fire_is_said(registry: Registry) -> None:
    with pytest.warns(UserWarning, match="can never fire"):
        install(registry, rule("p", PASS, probability=0.0))


# -- replacing ----------------------------------------------------------------------------------


def test_replacing_a_source_keeps_tally_and_deadline_of_what_did_not_change(
    registry: Registry, clock: FakeClock, witness: Witness
) -> None:
    kept, gone = rule("p", PASS, text="kept", expires_after=100), rule("p", PASS, text="gone")
    first = replace(registry, kept, gone)
    registry.point("p").hit()
    clock.advance(40)
    witness.notices.clear()
    second = replace(registry, rule("p", PASS, text="new"), kept)
    assert texts(registry) == ["new", "kept"]
    assert second.rules[1] is first.rules[0]
    assert second.rules[1].reaches == 1
    assert second.rules[1].seconds_left == 60
    assert [one.rule.text for one in witness.of(RuleArmed)] == ["new"]
    assert [(one.rule.text, one.why) for one in witness.of(RuleDisarmed)] == [("gone", "replaced")]


def test_of_equal_rules_the_nth_stays_the_nth(registry: Registry) -> None:
    same = rule("p", PASS, text="same", times=1)
    first = replace(registry, same, same)
    registry.point("p").hit()
    second = replace(registry, same)
    assert second.rules == first.rules[:1]
    assert second.rules[0].reaches == 1
    third = replace(registry, same, same)
    assert third.rules[0] is first.rules[0]
    assert third.rules[1] is not first.rules[1]


@pytest.mark.parametrize("how", ["spent", "disarmed", "expired"])
def test_what_ended_stays_so_until_its_text_changes(
    registry: Registry, clock: FakeClock, how: str
) -> None:
    point = registry.point("p")
    terms = rule("p", raises(), text="the rule", times=1, expires_after=100)
    (one,) = replace(registry, terms).rules
    if how == "spent":
        with pytest.raises(Boom):
            point.hit()
    elif how == "disarmed":
        registry.disarm("p")
    else:
        clock.advance(100)
        registry.engine.expire()
    for _ in range(2):
        (again,) = replace(registry, terms).rules
        assert again is one
        assert one.state == how
        point.hit()
    replace(registry, rule("p", raises(), text="another text"))
    with pytest.raises(Boom):
        point.hit()


def test_a_new_seed_is_a_new_rule_and_a_drawn_one_is_not(registry: Registry) -> None:
    (one,) = replace(registry, rule("p", PASS, text="t", seed=1)).rules
    (two,) = replace(registry, rule("p", PASS, text="t", seed=2)).rules
    assert one is not two
    (one,) = replace(registry, rule("p", PASS, text="t", seed=1, drawn=True)).rules
    (two,) = replace(registry, rule("p", PASS, text="t", seed=2, drawn=True)).rules
    assert one is two


def test_replacing_a_source_leaves_the_others_alone(registry: Registry) -> None:
    install(registry, rule("p", PASS, text="code"))
    replace(registry, rule("p", PASS, text="file"), source="file")
    replace(registry, rule("p", PASS, text="env"))
    replace(registry)
    assert texts(registry) == ["code", "file"]


def test_putting_replaces_what_was_put_on_exactly_that_name(
    registry: Registry, clock: FakeClock, witness: Witness
) -> None:
    put = rule("pay.a", PASS, text="put", expires_after=100)
    standing = Standing(registry)
    standing.put([rule("pay.*", PASS, text="glob")], "pay.*")
    standing.put([put], "pay.a")
    install(registry, rule("pay.a", PASS, text="code"))
    replace(registry, rule("pay.a", PASS, text="env"))
    registry.point("pay.a").hit()
    clock.advance(40)
    (again,) = standing.put([put], "pay.a").rules
    assert (again.reaches, again.seconds_left) == (0, 100)  # a new tally and deadline
    assert texts(registry, "pay.a") == ["code", "put", "glob", "env"]
    assert [(one.rule.text, one.why) for one in witness.of(RuleDisarmed)] == [("put", "replaced")]
    standing.put([], "pay.a")
    assert texts(registry, "pay.a") == ["code", "glob", "env"]


def test_what_cannot_be_put_leaves_what_was_there(registry: Registry) -> None:
    standing = Standing(registry)
    standing.put([rule("p", PASS, text="good")], "p")
    with pytest.raises(UnsupportedFault):
        standing.put([rule("p", answers(1))], "p")
    assert texts(registry) == ["good"]


# -- disarming ------------------------------------------------------------------------------------


def test_disarming_a_name_concerns_every_source(registry: Registry) -> None:
    install(registry, rule("p", PASS), rule("pay.a", PASS, text="stays"))
    install(registry, rule("p", PASS), source="http")
    replace(registry, rule("p", PASS))
    assert registry.disarm("p") == 3
    assert texts(registry) == ["stays"]
    assert registry.disarm("p") == registry.disarm("nobody") == 0


def test_a_glob_disarms_rules_whose_text_it_matches(registry: Registry) -> None:
    install(
        registry,
        rule("pay.*", PASS, times=1),
        rule("pay.a", PASS),
        rule("ship.a", PASS, text="stays"),
    )
    assert registry.disarm("pay.*") == 2
    assert texts(registry) == ["stays"]
    assert registry.disarm() == 1
    assert registry.rules() == ()


def test_points_are_taken_out_of_a_glob_and_later_ones_too(registry: Registry) -> None:
    handle = install(registry, rule("pay.*", raises()))
    assert registry.disarm("pay.a") == 1
    registry.point("pay.a").hit()
    with pytest.raises(Boom):
        registry.point("pay.b").hit()
    assert registry.disarm("*.late") == 0  # no such point yet, but it is taken out all the same
    assert not registry.point("pay.late").armed
    assert registry.point("pay.c").armed
    assert handle.rules[0].state == "armed"
    assert registry.disarm("pay.a") == 0  # it is out already
    assert handle.rules[0].excluded == ("pay.a", "*.late")
    install(registry, rule("pay.a", PASS, text="anew"))
    assert registry.point("pay.a").armed


def test_disarming_part_of_a_glob_wakes_only_who_sleeps_there(
    registry: Registry, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    @registry.point("pay.a")
    def charge() -> str:
        return "own"

    handle = install(registry, rule("pay.*", sleeps(30), raises()))
    out, stays = pool.submit(charge), pool.submit(registry.point("pay.b").hit)
    clock.until_waiting(30, count=2)
    registry.disarm("pay.a")
    assert out.result(PATIENCE) == "own"
    clock.until_waiting(30, count=1)
    assert not stays.done()
    clock.advance(30)
    with pytest.raises(Boom):
        stays.result(PATIENCE)
    assert (handle.injections, handle.interrupted) == (2, 1)


# -- the switch ------------------------------------------------------------------------------------


def test_disabling_wakes_and_disarms_everything_and_refuses_to_arm(
    registry: Registry, clock: FakeClock, pool: ThreadPoolExecutor, witness: Witness
) -> None:
    handle = install(registry, rule("p", hangs()))
    job = pool.submit(registry.point("p").hit)
    clock.until_waiting(None)
    registry.disable(by="me")
    job.result(PATIENCE)
    assert not registry.enabled
    assert registry.rules() == ()
    assert handle.rules[0].state == "disabled"
    with pytest.raises(NotPermitted, match=r"from code also chaospoint\.enable\(\)"):
        install(registry, rule("p", PASS))
    assert witness.of(Switched) == [Switched(False, "me")]
    registry.disable(by="again")
    assert len(witness.of(Switched)) == 1


def test_enabling_puts_back_what_environment_and_file_hold_as_it_stood(
    registry: Registry, clock: FakeClock, witness: Witness
) -> None:
    point = registry.point("pay.a")
    install(registry, rule("pay.a", PASS, text="code", skip=9))
    install(registry, rule("pay.a", PASS, text="http", skip=9), source="http")
    replace(registry, rule("pay.*", raises(), text="env", skip=1, expires_after=100))
    replace(
        registry,
        rule("pay.a", PASS, text="file"),
        rule("pay.b", PASS, text="ended"),
        source="file",
    )
    registry.disarm("pay.b")
    point.hit()
    registry.disable()
    point.hit()
    clock.advance(40)
    witness.notices.clear()
    registry.enable(by="me")
    assert texts(registry) == ["env", "file"]
    env = registry.rules()[0]
    assert (env.reaches, env.seconds_left) == (1, 60)
    registry.point("pay.b").hit()  # taken out of the glob before
    assert env.reaches == 1
    with pytest.raises(Boom):
        point.hit()
    assert witness.notices[0] == Switched(True, "me")
    assert [one.rule.text for one in witness.of(RuleArmed)] == ["env", "file"]
    registry.enable()
    assert texts(registry) == ["env", "file"]


def test_a_quick_disable_and_enable_wakes_sleepers_all_the_same(
    registry: Registry, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    (before,) = replace(registry, rule("p", sleeps(30), raises(), text="env")).rules
    job = pool.submit(registry.point("p").hit)
    clock.until_waiting(30)
    registry.disable()
    registry.enable()
    assert job.result(PATIENCE) is None
    (after,) = registry.rules()
    assert after is not before
    assert (after.injections, after.interrupted) == (1, 1)
    again = pool.submit(registry.point("p").hit)
    clock.until_waiting(30)
    clock.advance(30)
    with pytest.raises(Boom):
        again.result(PATIENCE)


def test_what_is_read_while_disabled_is_kept_for_enable(registry: Registry) -> None:
    stays = rule("p", raises(), text="stays", skip=2)
    replace(registry, stays, rule("p", PASS, text="goes"))
    registry.point("p").hit()
    registry.disable()
    replace(registry, stays, rule("p", PASS, text="comes"))
    assert registry.rules() == ()
    registry.point("p").hit()
    registry.enable()
    assert texts(registry) == ["stays", "comes"]
    assert [one.reaches for one in registry.rules()] == [1, 0]


@pytest.mark.parametrize("switch", ["disable", "enable"])
def test_what_is_told_of_a_reload_does_not_depend_on_a_switch_turned_meanwhile(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, witness: Witness, switch: str
) -> None:
    """Another thread turns the switch as soon as the lock is free: gauges stay right."""
    if switch == "enable":
        registry.disable()
    real = registry.engine._announce

    def late(ended: Any, *more: Any) -> None:
        monkeypatch.undo()
        real(ended, *more)
        getattr(registry, switch)()

    monkeypatch.setattr(registry.engine, "_announce", late)
    replace(registry, rule("p", PASS))
    armed, disarmed = len(witness.of(RuleArmed)), len(witness.of(RuleDisarmed))
    assert (armed, disarmed) == ((1, 1) if switch == "disable" else (1, 0))
    assert armed - disarmed == len(registry.rules())


def test_a_deadline_goes_on_while_disabled(registry: Registry, clock: FakeClock) -> None:
    replace(registry, rule("p", PASS, expires_after=100))
    registry.disable()
    clock.advance(100)
    registry.enable()
    assert registry.rules() == ()
    assert [one.state for one in registry.engine.ended()] == ["expired"]


def test_a_rule_that_is_past_its_deadline_cannot_be_renewed(
    registry: Registry, clock: FakeClock
) -> None:
    board = registry.engine
    board.housekeeper.stop()  # which is late
    replace(registry, rule("p", PASS, expires_after=100), source="http")
    (due,) = board.rules()
    clock.advance(99)
    assert board.renew("http", due.terms.key, 50)
    clock.advance(49)
    assert due.state == "armed"
    clock.advance(1)
    assert due.state == "expired"
    assert not board.renew("http", due.terms.key, 50)
    board.expire()
    assert due.state == "expired"


def test_reaches_are_told_once_over_disable_and_enable(
    registry: Registry, witness: Witness
) -> None:
    registry.engine.housekeeper.stop()  # it would flush in between
    replace(registry, rule("p", PASS))
    for _ in range(3):
        registry.point("p").hit()
    registry.disable()
    registry.enable()
    registry.point("p").hit()
    registry.flush()
    registry.flush()
    assert [one.reaches for one in witness.of(Reached)] == [3, 1]


def test_reaches_are_told_once_when_enabling_comes_before_disabling_is_through(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, witness: Witness
) -> None:
    """Another thread enables as soon as the lock is free, before the counts are told."""
    registry.engine.housekeeper.stop()  # it would flush in between
    replace(registry, rule("p", PASS))
    registry.point("p").hit()
    real = registry.engine._announce

    def late(ended: Any, *more: Any) -> None:
        monkeypatch.undo()
        registry.enable()
        real(ended, *more)

    monkeypatch.setattr(registry.engine, "_announce", late)
    registry.disable()
    registry.flush()
    assert [one.reaches for one in witness.of(Reached)] == [1]


# -- expiry ---------------------------------------------------------------------------------------


def test_a_rule_disarms_itself_at_its_deadline_and_wakes_sleepers(
    registry: Registry, clock: FakeClock, pool: ThreadPoolExecutor, witness: Witness
) -> None:
    ended = threading.Event()

    class Ends:
        def observe(self, _: object) -> None:
            pass

        def notice(self, notice: object) -> None:
            if isinstance(notice, RuleDisarmed):
                ended.set()

    registry.add_observer(Ends())
    install(registry, rule("p", PASS, text="stays"))
    handle = install(registry, rule("p", hangs(), text="goes", expires_after=60))
    job = pool.submit(registry.point("p").hit)
    clock.until_waiting(None)
    clock.advance(59.5)
    clock.until_waiting(0.5)  # the keeper waits for the rest
    assert not job.done()
    clock.advance(0.5)
    job.result(PATIENCE)
    assert ended.wait(PATIENCE)
    assert handle.rules[0].state == "expired"
    assert handle.interrupted == 1
    assert handle.rules[0].seconds_left == 0
    assert texts(registry) == ["stays"]
    assert [one.why for one in witness.of(RuleDisarmed)] == ["expired"]


# -- telling ---------------------------------------------------------------------------------------


class Nosy:
    """An observer that looks, arms and disarms from another thread while it is told."""

    def __init__(self, registry: Registry, pool: ThreadPoolExecutor) -> None:
        self.registry, self.pool = registry, pool
        self.told: list[str] = []

    def observe(self, _: object) -> None:
        self.notice(_)

    def notice(self, notice: object) -> None:
        self.told.append(type(notice).__name__)
        # It would never come back if our thread held the lock.
        self.pool.submit(self._look).result(PATIENCE)

    def _look(self) -> None:
        with arming_lock:
            self.registry.rules()


def test_nobody_is_told_under_the_lock(registry: Registry, pool: ThreadPoolExecutor) -> None:
    registry.engine.housekeeper.stop()  # it would tell in our place
    nosy = Nosy(registry, pool)
    registry.add_observer(nosy)
    replace(registry, rule("p", raises()))
    with pytest.raises(Boom):
        registry.point("p").hit()
    replace(registry, rule("p", PASS))
    install(registry, rule("p", PASS)).disarm()
    registry.disarm("p")
    registry.disable()
    registry.enable()
    told = {"RuleArmed", "Injection", "RuleDisarmed", "Reached", "StateChanged", "Switched"}
    assert set(nosy.told) == told


def test_an_observer_of_notices_that_raises_stops_nobody(
    registry: Registry, bugs: deque[BaseException]
) -> None:
    class Broken:
        def observe(self, _: object) -> None:
            pass

        def notice(self, _: object) -> None:
            raise OSError("full")

    broken = Broken()
    registry.add_observer(broken)
    witness = Witness()
    registry.add_observer(witness)
    install(registry, rule("p", PASS)).disarm()
    assert len(witness.of(RuleArmed)) == len(witness.of(RuleDisarmed)) == 1
    registry.remove_observer(broken)
    assert {type(bug) for bug in bugs} == {OSError}
    bugs.clear()


def test_observers_come_and_go(registry: Registry) -> None:
    one, two = Witness(), Witness()
    registry.add_observer(one)
    registry.add_observer(two)
    assert registry.observers == (one, two)
    registry.remove_observer(one)
    registry.remove_observer(one)  # no error
    install(registry, rule("p", raises()))
    with pytest.raises(Boom):
        registry.point("p").hit()
    assert (len(one.injections), len(two.injections)) == (0, 1)
    assert one.of(RuleArmed) == []


def test_an_observer_added_while_armed_is_told(registry: Registry) -> None:
    install(registry, rule("p", raises()))
    late = Witness()
    registry.add_observer(late)
    with pytest.raises(Boom):
        registry.point("p").hit()
    assert len(late.injections) == 1


def test_a_bug_at_one_point_does_not_keep_the_others_from_being_armed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, bugs: deque[BaseException]
) -> None:
    @registry.point("pay.a")
    def broken() -> str:
        return "own"

    @registry.point("pay.b")
    def works() -> str:
        return "own"

    site = registry.point("pay.a").core.sites[0]
    rebuild = type(site).rebuild
    monkeypatch.setattr(type(site), "rebuild", lambda s: 1 / 0 if s is site else rebuild(s))
    install(registry, rule("pay.*", raises()))
    assert broken() == "own"
    with pytest.raises(Boom):
        works()
    monkeypatch.undo()
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]
    bugs.clear()
    registry.disarm()
    assert works() == "own"


def test_counts_stay_as_they_were_after_disarming(registry: Registry) -> None:
    @registry.point("p")
    def function() -> None:
        pass

    handle = install(registry, rule("p", PASS))
    stale = type(function)(function.__code__, {})  # as under somebody else's patch
    function()
    stale()
    assert handle.reaches == 2
    handle.disarm()
    stale()
    assert handle.reaches == 2


def test_restarting_for_a_forked_child_keeps_what_is_armed(registry: Registry) -> None:
    @registry.point("p")
    def function() -> str:
        return "own"

    handle = install(registry, rule("p", raises(), times=1))
    with pytest.raises(Boom):
        function()
    assert function() == "own"
    registry.engine.restart()
    assert (handle.reaches, handle.injections) == (0, 0)
    with pytest.raises(Boom):  # the trampoline counts in the new tally
        function()
    assert handle.reaches == 1


def test_what_is_disarmed_while_disabled_does_not_come_back(registry: Registry) -> None:
    replace(registry, rule("pay.a", PASS), rule("pay.*", PASS, every=2), rule("ship.a", PASS))
    registry.point("pay.b")
    registry.disable()
    assert registry.disarm("pay.a") == 2  # one whole, and out of the glob
    assert registry.disarm("pay.b") == 1
    registry.enable()
    assert texts(registry) == [rule("pay.*", PASS, every=2).text, rule("ship.a", PASS).text]
    assert texts(registry, "pay.b") == []


def test_a_refused_reload_leaves_the_order(registry: Registry) -> None:
    one, two = rule("p", PASS, every=2), rule("p", PASS, every=3)
    registry.point("p")
    replace(registry, one, two)
    with pytest.raises(UnsupportedFault):
        replace(registry, two, one, rule("p", answers(1)))
    assert texts(registry) == [one.text, two.text]


def test_while_something_is_armed_finalizers_reach_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may come at any moment, also while the state is half built."""
    point = registry.point("p")
    handle = install(registry, rule("p", raises()))
    monkeypatch.setattr(engine, "check", lambda *_, **__: point.hit() or [])
    install(registry, rule("p", PASS, every=2))
    assert handle.reaches == 0
    with pytest.raises(Boom):
        point.hit()
