"""What is answered where there is something to tell is as the document says, member by member.

So are all answers in `tests/control`, whose conftest looks at them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import documented
import jsonschema_rs
import pytest

from chaospoint._registry.registry import Registry
from chaospoint.control.http import Request, Response
from chaospoint.control.service import Service
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import Settings
from chaospoint.stores import acknowledging
from chaospoint.stores.reconciler import reconciler_of
from chaospoint.stores.store import Worker

NAME = "/v1/points/payment.charge"
Ask = Callable[..., Any]


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    yield made
    made.disarm()


@pytest.fixture
def charge(registry: Registry) -> Callable[[], str]:
    @registry.point("payment.charge", description="the card is charged")
    def charge() -> str:
        return "charged"

    return charge


@pytest.fixture
def ask(registry: Registry, charge: Callable[[], str]) -> Ask:
    service = Service.of(Settings(enabled=True), registry)

    def ask(method: str, path: str, body: object = None, **headers: str) -> Any:
        raw = b"" if body is None else json.dumps(body).encode()
        sent = {"host": "localhost", "content-type": "application/json", **headers}
        path, _, query = path.partition("?")
        request = Request(method, path, sent, raw, "127.0.0.1", query)
        response = service.answer(request)
        documented.check(request, response)
        return json.loads(response.body) if response.body.startswith(b"{") else response

    return ask


def test_injections_and_the_states_of_rules(ask: Ask, charge: Callable[[], str]) -> None:
    put = ask("PUT", NAME, {"rule": "1*latency(1ms)+raise(KeyError)->2*off->return(1)"})
    assert len(put["rules"]) == 3
    with pytest.raises(KeyError):
        charge()
    assert charge() == "charged"
    [first] = ask("GET", "/v1/injections")["injections"]
    assert (first["latency"], first["exception"]) == (0.001, "KeyError")
    states = ask("GET", NAME)["rules"]
    assert {one["state"] for one in states} >= {"spent", "armed"}
    assert {one["ordinal"] for one in ask("GET", "/v1/status")["rules"]} == {1, None}
    assert ask("GET", "/v1/points")["points"][0]["placements"]
    assert ask("PUT", "/v1/points/*", {"hang": True})["points"] == ["payment.charge"]
    plan = ask("GET", "/v1/plan")["rules"]
    assert len(plan) == 4
    assert ask("PUT", "/v1/plan", {"rules": plan})["generation"] == 3
    assert ask("POST", f"{NAME}/release")["released"] == 0
    assert ask("DELETE", NAME)["disarmed"] == 4
    assert ask("POST", "/v1/disable")["enabled"] is False
    assert ask("PUT", NAME, {"latency": 1})["status"] == 409
    assert ask("POST", "/v1/enable")["enabled"] is True


def test_a_dry_run_that_remarks_replaces_and_leaves_out(ask: Ask, registry: Registry) -> None:
    registry.point("db.query").hit()
    ask("PUT", NAME, {"latency": 1})
    told = ask("PUT", f"{NAME}?dry_run=true", {"latency": 1, "probability": 0})
    assert told["replaces"]
    assert told["remarks"]
    assert told["rules"][0]["points"]
    plan = {"rules": [{"point": "*", "returns": 1, "expires_after": "1s"}]}
    told = ask("PUT", "/v1/plan?dry_run=true", plan)
    assert [one["left_out"] for one in told["rules"][0]["points"]] == [["return"], []]


def test_a_dry_run_of_a_stale_plan_is_refused_as_the_write_is(ask: Ask) -> None:
    ask("PUT", NAME, {"latency": 1})
    for path in (NAME, f"{NAME}?dry_run=true"):
        told = ask("PUT", path, {"latency": 2}, **{"if-match": '"7"'})
        assert (told["status"], told["generation"]) == (412, 1)
        told = ask("PUT", path, {"latency": 2}, **{"if-match": "7"})
        assert told["status"] == 400


def test_a_plan_that_is_known_is_not_sent_again(ask: Ask) -> None:
    answer = ask("GET", "/v1/plan", **{"if-none-match": '"0"'})
    assert isinstance(answer, Response)
    assert answer.status == 304


def test_what_env_and_file_said(ask: Ask, registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    sources = Sources(Settings(points="payment.charge=nonsense", config=file), registry)
    sources.read_env()
    try:
        assert [one["ok"] for one in ask("GET", "/v1/status")["sources"]] == [False, True]
        file.write_text("rules: []")
        sources.read_file()
        assert ask("GET", "/v1/status")["sources"][1]["read_at"]
    finally:
        sources.clear()


def test_workers_that_did_not_follow(
    ask: Ask, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledging, "ACK_TIMEOUT_SECONDS", 0.0)
    ask("GET", "/v1/workers")
    store = reconciler_of(registry).store
    silent = Worker("f00", 7, refusal="it is another", started_at=1.0, seconds_silent=0.5)
    mine = store.workers
    monkeypatch.setattr(store, "workers", lambda: [*mine(), silent], raising=False)
    assert [one["answering"] for one in ask("GET", "/v1/workers")["workers"]] == [True, False]
    [missing] = ask("PUT", NAME, {"latency": 1})["missing"]
    assert missing["why"] == "it is another"


def test_an_answer_that_is_not_told_of_is_not_let_pass() -> None:
    """What looks at the answers sees a member too many, one too few, and a strange status."""
    request = Request("GET", "/v1/points")
    point = {"name": "a", "description": "", "armed": False, "forbidden": False, "placements": []}
    plain = {"content-type": "application/json"}

    def answer(told: object, status: int = 200) -> Response:
        return Response(status, plain, json.dumps(told).encode())

    last = {"next": None}
    documented.check(request, answer({"points": [point], **last}))
    several = ({}, {"points": [point], "more": 1}, {"points": [{**point, "armed": None}]})
    for wrong in ({"points": [point]}, *({**one, **last} for one in several)):
        with pytest.raises(jsonschema_rs.ValidationError):
            documented.check(request, answer(wrong))
    with pytest.raises(AssertionError):
        documented.check(request, answer({"points": [], **last}, 202))
    with pytest.raises(AssertionError):
        documented.check(Request("GET", "/v1/plan"), answer({"rules": []}))
