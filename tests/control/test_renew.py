"""`renew` moves the deadline of what is armed, in every worker, and nothing else of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nodes import FAULT, Node, Nodes

from chaospoint._registry.registry import Registry
from chaospoint.control import changes, service
from chaospoint.control.http import Request
from chaospoint.control.service import Service
from chaospoint.sources.settings import Settings
from chaospoint.stores import reconciler
from chaospoint.testing import FakeClock

CHARGE, RENEW = "/v1/points/payment.charge", "/v1/points/payment.charge/renew"


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """What the time of day is, for all workers."""
    clock = FakeClock()
    for module in (changes, reconciler, service):
        monkeypatch.setattr(module, "moment", lambda: 1_700_000_000.0 + clock.monotonic())
    return clock


def raised(call: Any) -> bool:
    try:
        call()
    except KeyError:
        return True
    return False


def state(node: Node) -> dict[str, Any]:
    (rule,) = node.done("GET", CHARGE)["rules"]
    found: dict[str, Any] = rule
    return found


@pytest.mark.parametrize(
    ("body", "left"), [(None, 60.0), ({}, 60.0), ({"expires_after": "5m"}, 300.0)]
)
def test_the_deadline_moves_and_the_counts_stay(
    nodes: Nodes, wall: FakeClock, body: object, left: float
) -> None:
    first, second = nodes(clock=wall), nodes(clock=wall)
    call, other = first.place("payment.charge"), second.place("payment.charge")
    first.done("PUT", CHARGE, {**FAULT, "times": 3, "expires_after": "1m"})
    second.follow()
    assert raised(call)
    assert raised(other)
    wall.advance(50.0)
    told = first.done("POST", RENEW, body)
    second.follow()
    assert (told["renewed"], told["workers"], told["acknowledged"]) == (1, 2, 2)
    assert told["rules"][0]["seconds_left"] == pytest.approx(left, abs=0.01)
    for node in (first, second):
        node.registry.engine.expire()
        found = state(node)
        assert found["seconds_left"] == pytest.approx(left, abs=0.01)
        assert (found["reaches"], found["injections"]) == (1, 1)
    wall.advance(left - 1.0)
    assert raised(call)
    wall.advance(2.0)
    for node, function in ((first, call), (second, other)):
        node.registry.engine.expire()
        assert not raised(function)


def test_a_worker_that_comes_later_has_the_moved_deadline(nodes: Nodes, wall: FakeClock) -> None:
    first = nodes(clock=wall)
    first.place("payment.charge")
    first.done("PUT", CHARGE, {**FAULT, "expires_after": "1m"})
    wall.advance(50.0)
    first.done("POST", RENEW)
    wall.advance(20.0)
    late = nodes(clock=wall)
    call = late.place("payment.charge")
    late.follow()
    assert raised(call)
    assert state(late)["seconds_left"] == pytest.approx(40.0, abs=0.01)


def test_a_deadline_may_be_moved_nearer(nodes: Nodes, wall: FakeClock) -> None:
    node = nodes(clock=wall)
    call = node.place("payment.charge")
    node.done("PUT", CHARGE, {**FAULT, "expires_after": "10m"})
    node.done("POST", RENEW, {"expires_after": 1})
    wall.advance(1.1)
    node.registry.engine.expire()
    assert not raised(call)


def test_a_worker_whose_clock_is_ahead_arms_anew_what_it_has_let_expire(
    nodes: Nodes, wall: FakeClock
) -> None:
    ahead = FakeClock()
    first, hasty = nodes(clock=wall), nodes(clock=ahead)
    first.place("payment.charge")
    call = hasty.place("payment.charge")
    first.done("PUT", CHARGE, {**FAULT, "expires_after": "1m"})
    hasty.follow()
    ahead.advance(61.0)
    hasty.registry.engine.expire()
    assert not raised(call)
    wall.advance(30.0)
    first.done("POST", RENEW)
    hasty.follow()
    assert raised(call)


def test_what_a_worker_disarmed_for_itself_does_not_come_back(
    nodes: Nodes, wall: FakeClock
) -> None:
    first, second = nodes(clock=wall), nodes(clock=wall)
    first.place("payment.charge")
    call = second.place("payment.charge")
    first.done("PUT", CHARGE, FAULT)
    second.follow()
    second.registry.disarm("payment.charge")
    first.done("POST", RENEW)
    second.follow()
    assert not raised(call)


def test_a_glob_renews_all_that_it_matches_and_no_other(nodes: Nodes, wall: FakeClock) -> None:
    node = nodes(clock=wall)
    for name in ("db.query", "db.commit", "payment.charge"):
        node.place(name)
        node.done("PUT", f"/v1/points/{name}", {**FAULT, "expires_after": "1m"})
    wall.advance(30.0)
    told = node.done("POST", "/v1/points/db.*/renew", {"expires_after": "2m"})
    assert told["renewed"] == 2
    assert {one["point"] for one in told["rules"]} == {"db.query", "db.commit"}
    left = {rule.pattern: round(rule.seconds_left or 0) for rule in node.registry.rules()}
    assert left == {"db.query": 120, "db.commit": 120, "payment.charge": 30}


def test_what_has_expired_or_was_never_put_is_404(nodes: Nodes, wall: FakeClock) -> None:
    node = nodes(clock=wall)
    node.place("payment.charge")
    assert node.refused(404, "nothing-to-renew", "POST", RENEW)["name"] == "payment.charge"
    node.done("PUT", CHARGE, {**FAULT, "expires_after": "1m"})
    wall.advance(61.0)
    node.registry.engine.expire()
    node.refused(404, "nothing-to-renew", "POST", RENEW)
    node.refused(404, "unknown-point", "POST", "/v1/points/payment.chrage/renew")
    assert node.store.read().generation == 1, "nothing was written"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"expires_after": 61}, 422, "limit-exceeded"),
        ({"expires_after": 0}, 422, "invalid-plan"),
        ({"expires_after": "soon"}, 422, "invalid-plan"),
        ({"latency": 1}, 422, "invalid-plan"),
        ([], 422, "not-an-object"),
    ],
)
def test_what_makes_no_sense_or_passes_a_limit_changes_nothing(
    nodes: Nodes, body: object, status: int, kind: str
) -> None:
    node = nodes(Settings(enabled=True, max_expires_after=60))  # type: ignore[arg-type]
    node.place("payment.charge")
    node.done("PUT", CHARGE, {**FAULT, "expires_after": 60})
    node.refused(status, kind, "POST", RENEW, body)
    assert node.store.read().generation == 1


def test_a_stale_if_match_is_412(nodes: Nodes) -> None:
    node = nodes()
    node.place("payment.charge")
    node.done("PUT", CHARGE, FAULT)
    node.refused(412, "stale", "POST", RENEW, if_match='"7"')
    assert node.done("POST", RENEW, if_match='"1"')["generation"] == 2


def test_it_is_in_the_audit_log(registry: Registry, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    service = Service.of(Settings(enabled=True, audit_log=log), registry)
    registry.point("db.query")
    headers = {"host": "127.0.0.1", "content-type": "application/json"}
    body = b'{"latency": 1}'
    service.answer(Request("PUT", "/v1/points/db.query", headers, body, "127.0.0.1"))
    service.answer(Request("POST", "/v1/points/db.query/renew", headers, b"", "127.0.0.1"))
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["what"], last["status"]) == ("POST /v1/points/db.query/renew", 200)
