"""The edits of the desired state: pure, one generation each, and refused whole."""

from __future__ import annotations

from typing import Any

import pytest

from chaospoint.errors import InvalidPlan, LimitExceeded, NotPermitted, StoreError
from chaospoint.plan import Rule
from chaospoint.stores.desired import MAX_RULES, Desired, Entry

NOW = 1e9


def rule(point: str, **keys: Any) -> Rule:
    return Rule(point=point, **{"latency": "200ms", **keys})


def put(one: Desired, *points: str | Rule, name: str | None = None, now: float = NOW) -> Desired:
    rules = [(rule(point) if isinstance(point, str) else point, None) for point in points]
    return one.put(rules, name=name, default_seconds=600.0, by="ops", now=now)


def armed(*points: str | Rule) -> Desired:
    return put(Desired(), *points)


def points(one: Desired) -> list[str]:
    return [entry.rule.point for entry in one.entries]


def disarmed(one: Desired, *patterns: str) -> Desired:
    for pattern in patterns:
        one = one.disarm(pattern, by="ops", now=NOW)
    return one


def orders(one: Desired) -> list[tuple[str, str, int]]:
    return [(order.what, order.pattern, order.generation) for order in one.orders]


# -- every edit ---------------------------------------------------------------------------

EDITS: dict[str, Any] = {
    "put": lambda one: put(one, "b"),
    "disarm": lambda one: one.disarm("b", by="ops", now=NOW),
    "release": lambda one: one.release("b", by="ops", now=NOW),
    "disable": lambda one: one.disable(by="ops", now=NOW),
    "enable": lambda one: one.enable(by="ops", now=NOW),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_makes_the_next_generation_of_another_document(name: str) -> None:
    before = armed("a")
    text = before.text()
    made = EDITS[name](before)
    assert (before.text(), made.generation) == (text, before.generation + 1)
    assert (made.by, made.at) == ("ops", NOW)
    assert Desired.parse(made.text()) == made


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_drops_what_has_expired(name: str) -> None:
    """At its end a rule is over, whichever edit comes; what has time left stays as it was."""
    before = armed(rule("old", expires_after=10), rule("young", expires_after=11))
    late = before.model_copy(update={"enabled": True})
    made = {
        "put": lambda: put(late, "b", name="b", now=NOW + 10),
        "disarm": lambda: late.disarm("b", by="", now=NOW + 10),
        "release": lambda: late.release("b", by="", now=NOW + 10),
        "disable": lambda: late.disable(by="", now=NOW + 10),
        "enable": lambda: late.enable(by="", now=NOW + 10),
    }[name]()
    kept = [entry for entry in made.entries if entry.rule.point != "b"]
    assert kept == ([] if name == "disable" else [before.entries[1]])


def test_a_document_is_brought_up_to_a_generation_and_never_down() -> None:
    one = armed("a")
    assert one.no_older_than(0) is one
    assert one.no_older_than(1) is one
    assert one.no_older_than(7) == one.model_copy(update={"generation": 7})


# -- put ----------------------------------------------------------------------------------


def test_put_replaces_the_whole_plan() -> None:
    assert points(put(armed("a", "b"), "c", "b")) == ["c", "b"]
    assert points(put(armed("a", "b"))) == []


def test_put_on_a_name_replaces_exactly_that_name_and_goes_first() -> None:
    one = armed("a", "b.c", "b.*", "b.c", "d")
    made = put(one, rule("b.c", latency="1s"), rule("b.c", latency="2s"), name="b.c")
    assert points(made) == ["b.c", "b.c", "a", "b.*", "d"]
    assert made.entries[2:] == tuple(e for e in one.entries if e.rule.point != "b.c")
    assert points(put(made, "b.*", name="b.*")) == ["b.*", "b.c", "b.c", "a", "d"]
    assert points(put(made, name="b.c")) == ["a", "b.*", "d"]
    assert points(put(made, "new", name="new")) == ["new", *points(made)]


def test_an_entry_keeps_what_it_was_put_with() -> None:
    made = Desired().put(
        [(rule("a", expires_after="5m"), 7), (rule("b"), None)],
        default_seconds=600.0,
        by="ops",
        now=NOW,
    )
    first, second = made.entries
    assert (first.seed, first.by, first.armed_at, first.expires_after) == (7, "ops", NOW, 300.0)
    assert (second.seed, second.expires_after, second.excluded) == (None, 600.0, ())


def test_no_two_entries_have_the_same_id() -> None:
    """Not even the same rule put again, into the same generation of a store that was lost."""
    one = armed("a", "a")
    again = put(one, "a", name="b")
    anew = put(Desired(), "a", now=NOW + 0.01)
    ids = [entry.id for document in (again, anew) for entry in document.entries]
    assert len(set(ids)) == len(ids) == 4


def test_the_time_that_is_left_is_never_more_than_was_given() -> None:
    """A clock that was set back arms nothing for longer."""
    (entry,) = armed(rule("a", expires_after=60)).entries
    left = [entry.seconds_left(NOW + passed) for passed in (-3600, 0, 20, 60, 90)]
    assert left == [60, 60, 40, 0, -30]


def test_a_store_holds_so_many_rules_and_no_more() -> None:
    full = armed(*["a"] * MAX_RULES)
    assert len(full.entries) == MAX_RULES
    with pytest.raises(LimitExceeded, match=r"1001 rules.*1000 at most: disarm some"):
        put(full, "b", name="b")
    with pytest.raises(LimitExceeded):
        armed(*["a"] * (MAX_RULES + 1))
    assert len(put(full, *["a"] * MAX_RULES, name="a").entries) == MAX_RULES
    late = put(full, "b", name="b", now=NOW + 600)
    assert points(late) == ["b"], "what has expired does not count"


def test_nothing_is_put_while_disabled() -> None:
    off = armed("a").disable(by="ops", now=NOW)
    with pytest.raises(NotPermitted, match="To allow arming: `chaospoint enable`"):
        put(off, "a")
    assert points(put(off.enable(by="ops", now=NOW), "a")) == ["a"]


@pytest.mark.parametrize("keys", [{"by": "x" * 401}, {"now": -1.0}, {"default_seconds": 0.0}])
def test_an_entry_that_could_not_be_read_is_not_put(keys: dict[str, Any]) -> None:
    with pytest.raises(InvalidPlan):
        Desired().put([(rule("a"), 1)], **{"default_seconds": 1.0, "by": "", "now": NOW, **keys})


# -- disarm -------------------------------------------------------------------------------


def test_disarm_takes_out_what_matches() -> None:
    one = armed("a", "b.c", "b.d", "b.*", "b.c.*")
    assert points(disarmed(one, "b.c")) == ["a", "b.d", "b.*", "b.c.*"]
    assert points(disarmed(one, "b.*")) == ["a"]
    assert points(disarmed(one, "*")) == []
    assert points(disarmed(one, "z")) == points(one)


def test_disarm_excludes_from_globs_what_it_takes_out_of_them() -> None:
    one = disarmed(armed("a", "db.*", "*", "queue.*"), "db.query")
    assert [entry.excluded for entry in one.entries] == [(), ("db.query",), ("db.query",), ()]
    narrower = disarmed(armed("db.*"), "db.q*")
    assert narrower.entries[0].excluded == ("db.q*",)


def test_an_exclusion_that_a_wider_one_includes_is_dropped() -> None:
    one = disarmed(armed("db.*"), "db.a", "db.b", "db.a")
    assert one.entries[0].excluded == ("db.b", "db.a")
    one = disarmed(one, "db.x.*", "db.a*")
    assert one.entries[0].excluded == ("db.b", "db.x.*", "db.a*")


def test_a_rule_that_is_put_again_excludes_nothing() -> None:
    one = put(disarmed(armed("db.*"), "db.a"), "db.*", name="db.*")
    assert one.entries[0].excluded == ()


# -- orders -------------------------------------------------------------------------------


def test_orders_are_kept_for_processes_still_to_come() -> None:
    one = disarmed(armed("a"), "a", "b.c").release("a", by="ops", now=NOW)
    assert orders(one) == [("disarm", "a", 2), ("disarm", "b.c", 3), ("release", "a", 4)]


def test_an_order_takes_the_place_of_those_that_it_includes() -> None:
    one = disarmed(Desired(), "a", "b.c", "b.d").release("b.*", by="ops", now=NOW)
    assert orders(disarmed(one, "b.*")) == [
        ("disarm", "a", 1),
        ("release", "b.*", 4),
        ("disarm", "b.*", 5),
    ]
    assert orders(disarmed(one, "*")) == [("release", "b.*", 4), ("disarm", "*", 5)]
    assert orders(disarmed(one, "a"))[-1] == ("disarm", "a", 5)
    assert len(disarmed(one, "a").orders) == 4


def test_orders_are_bounded_and_the_oldest_go_first() -> None:
    one = disarmed(Desired(), *(f"point.{nth}" for nth in range(130)))
    assert orders(one) == [("disarm", f"point.{nth}", nth + 1) for nth in range(30, 130)]


def test_an_order_is_for_points_or_globs_only() -> None:
    for edit in (Desired().disarm, Desired().release):
        with pytest.raises(InvalidPlan, match="pattern='Not One'"):
            edit("Not One", by="ops", now=NOW)


# -- the switch ---------------------------------------------------------------------------


def test_disable_empties_the_plan_and_enable_brings_none_back() -> None:
    off = disarmed(armed("a", "b"), "b").disable(by="ops", now=NOW)
    assert (off.enabled, off.entries, off.switched) == (False, (), 3)
    on = off.enable(by="ops", now=NOW)
    assert (on.enabled, on.entries, on.switched) == (True, (), 4)
    assert on.release("a", by="ops", now=NOW).switched == 4
    assert on.orders == off.orders


# -- as text ------------------------------------------------------------------------------


def test_a_document_is_read_back_as_it_was_written() -> None:
    one = disarmed(armed("db.*", rule("a", times=2, seed=4, where={"tenant": ["acme"]})), "db.a")
    assert Desired.parse(one.text()) == one
    assert Desired.parse(one.text().encode()) == one
    assert '"version": 1' in Desired().text()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["line 1 column 1"]),
        ("[]", ["not an object", "write an object of keys"]),
        ('{"generation": -1}', ["generation=-1", "less than 0"]),
        ('{"generation": 1e3}', ["generation=1000.0", "not a whole number"]),
        ('{"enabled": 1}', ["enabled=1", "write true or false"]),
        ('{"at": NaN}', ["NaN"]),
        ('{"enabled": true, "enabled": false}', ["'enabled'", "twice"]),
        ('{"entrys": []}', ["entrys", "did you mean 'entries'?"]),
        ('{"entries": [{"id": "1"}]}', ["rule", "missing"]),
        ('{"orders": [{"what": "arm", "pattern": "a", "generation": 1, "at": 1}]}', ["what"]),
        ('{"version": 2}', ["newer chaospoint (version 2", "same version"]),
        ('{"version": 3, "entries": "?"}', ["newer chaospoint (version 3"]),
        ('{"version": 0}', ["version"]),
    ],
)
def test_what_is_no_document_is_refused_by_name(text: str, parts: list[str]) -> None:
    with pytest.raises(StoreError) as caught:
        Desired.parse(text)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_rule_of_a_document_names_no_code_to_import() -> None:
    """It is read as data from outside; whether its exception may be found is decided later."""
    one = armed(rule("a", exception="no.such.Thing"))
    assert Desired.parse(one.text()).entries[0].rule == one.entries[0].rule


def test_an_entry_lives_for_some_time_and_not_for_ever() -> None:
    for seconds in (0, -1, float("inf"), 10**400, True, "600"):
        with pytest.raises(InvalidPlan, match="expires_after"):
            Entry(id="1", rule=rule("a"), armed_at=NOW, expires_after=seconds)
