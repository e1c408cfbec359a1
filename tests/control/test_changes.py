"""A write is in force everywhere when it is answered, or the answer says where it is not."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, run, tick
from nodes import FAULT, Node, Nodes, finished, request

from chaospoint._kernel.context import in_chaospoint
from chaospoint.arming import arm
from chaospoint.control import asgi, changes
from chaospoint.control.server.admin import AdminServer
from chaospoint.errors import NotPermitted, StoreBusy, StoreError
from chaospoint.plan.limits import Limits
from chaospoint.sources.settings import Settings
from chaospoint.stores.acknowledging import acknowledged, updated
from chaospoint.stores.desired import Desired
from chaospoint.stores.store import Worker
from chaospoint.testing import FakeClock

CHARGE = "/v1/points/payment.charge"


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock by which writers wait for workers and for a busy store."""
    clock = FakeClock()
    for one in (acknowledged, updated):
        monkeypatch.setattr(changes, one.__name__, partial(one, now=clock.monotonic))
    return clock


@pytest.fixture
def node(nodes: Nodes) -> Node:
    made = nodes()
    made.place("payment.charge")
    made.follow()
    return made


def stranger(node: Node, **more: Any) -> Worker:
    """Report a worker that never does anything."""
    worker = Worker("stranger", os.getpid(), started_at=time.time(), **more)
    node.store.report(worker)
    return worker


# Who runs it


def test_a_worker_that_never_acknowledges_is_named_after_two_seconds(
    node: Node, patience: FakeClock
) -> None:
    stranger(node)
    answer = finished(node.service.steps(request("PUT", CHARGE, FAULT)), patience.advance)
    assert answer.status == 200
    done = json.loads(answer.body)
    assert (done["workers"], done["acknowledged"]) == (2, 1)
    [missing] = done["missing"]
    assert missing["id"] == "stranger"
    assert missing["pid"] == os.getpid()
    assert missing["generation"] == 0
    assert missing["why"].startswith("still at generation 0, last report ")
    assert 2.0 <= patience.monotonic() < 2.1
    assert node.rules == ["payment.charge=raise(KeyError)"], "it is in force here all the same"


def test_a_worker_that_refuses_is_named_at_once_in_its_own_words(
    node: Node, patience: FakeClock
) -> None:
    node.done("PUT", CHARGE, {"latency": 0})
    stranger(node, generation=2, refusal="generation 2 is refused: the cat sat on it")
    answer = finished(node.service.steps(request("PUT", CHARGE, FAULT)), patience.advance)
    [missing] = json.loads(answer.body)["missing"]
    assert missing["why"] == "generation 2 is refused: the cat sat on it"
    assert patience.monotonic() == 0.0


def test_it_is_answered_as_soon_as_the_last_worker_has_it(node: Node, patience: FakeClock) -> None:
    stranger(node)

    def meanwhile(seconds: float) -> None:
        patience.advance(seconds)
        if patience.monotonic() > 0.5:
            stranger(node, generation=1)

    answer = finished(node.service.steps(request("PUT", CHARGE, FAULT)), meanwhile)
    done = json.loads(answer.body)
    assert (done["workers"], done["acknowledged"]) == (2, 2)
    assert "missing" not in done
    assert 0.5 < patience.monotonic() < 0.6


def test_a_worker_that_ends_meanwhile_is_not_waited_for(node: Node, patience: FakeClock) -> None:
    stranger(node)

    def meanwhile(seconds: float) -> None:
        patience.advance(seconds)
        node.store.leave("stranger")

    answer = finished(node.service.steps(request("PUT", CHARGE, FAULT)), meanwhile)
    assert json.loads(answer.body)["workers"] == 1
    assert patience.monotonic() < 0.1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", CHARGE, FAULT),
        ("PUT", "/v1/plan", {"rules": []}),
        ("DELETE", CHARGE, None),
        ("DELETE", "/v1/points", None),
        ("POST", f"{CHARGE}/release", None),
        ("POST", "/v1/disable", None),
        ("POST", "/v1/enable", None),
    ],
)
def test_every_write_says_who_runs_it(method: str, path: str, body: Any, node: Node) -> None:
    try:
        done = node.done(method, path, body)
    finally:
        node.registry.enable()
    assert (done["generation"], done["workers"], done["acknowledged"]) == (1, 1, 1)
    assert done["generation"] == node.store.read().generation
    assert "missing" not in done


def test_what_an_order_touched_here_is_told(node: Node) -> None:
    arm("payment.charge", latency=0, registry=node.registry)
    node.done("PUT", CHARGE, FAULT)
    assert node.done("DELETE", "/v1/points/payment.*")["disarmed"] == 2
    assert node.done("DELETE", "/v1/points/payment.*")["disarmed"] == 0
    assert node.done("POST", f"{CHARGE}/release")["released"] == 0


def test_the_first_request_of_all_disarms_what_code_armed(nodes: Nodes) -> None:
    """A process that serves before its first round takes no order for an old one."""
    fresh = nodes()
    fresh.place("payment.charge")
    arm("payment.charge", latency=0, registry=fresh.registry)
    assert fresh.done("DELETE", CHARGE)["disarmed"] == 1
    assert fresh.rules == []


def test_a_point_that_only_another_worker_has_can_be_armed_there(nodes: Nodes) -> None:
    first, second = nodes(), nodes()
    charge = second.place("payment.charge")
    first.follow()
    second.follow()
    done = first.done("PUT", CHARGE, FAULT)
    assert done["acknowledged"] == 2
    assert done["points"] == []
    with pytest.raises(KeyError):
        charge()
    told = first.refused(404, "unknown-point", "PUT", "/v1/points/payment.chrage", FAULT)
    assert told["nearest"] == ["payment.charge"]


def test_a_write_is_answered_well_though_the_only_worker_with_the_point_ends_meanwhile(
    node: Node, patience: FakeClock
) -> None:
    stranger(node, points=("db.query",))

    def meanwhile(seconds: float) -> None:
        patience.advance(seconds)
        node.store.leave("stranger")

    steps = node.service.steps(request("PUT", "/v1/points/db.query", FAULT))
    answer = finished(steps, meanwhile)
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["generation"] == 1


# What cannot be written


def _busy(node: Node, monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    tries: list[int] = []
    update = node.store.update

    def busy(*args: Any, **kwargs: Any) -> Desired:
        tries.append(1)
        if len(tries) <= times:
            raise StoreBusy("somebody else is writing: try again")
        return update(*args, **kwargs)

    monkeypatch.setattr(node.store, "update", busy)
    return tries


def test_a_busy_store_is_tried_again(
    node: Node, patience: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = _busy(node, monkeypatch, times=5)
    answer = finished(node.service.steps(request("PUT", CHARGE, FAULT)), patience.advance)
    assert answer.status == 200
    assert len(tries) == 6


def test_a_store_that_stays_busy_is_a_503_that_says_when_to_come_again(
    node: Node, patience: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _busy(node, monkeypatch, times=10**6)
    answer = finished(node.service.steps(request("PUT", CHARGE, FAULT)), patience.advance)
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert json.loads(answer.body)["type"] == "urn:chaospoint:problem:store-busy"
    assert 2.0 <= patience.monotonic() < 2.1
    assert node.rules == []


def _unusable(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise StoreError("/store: Read-only file system: user 0 has to be able to write it")

    monkeypatch.setattr(node.store, "update", fails)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", CHARGE, {"latency": 1}),
        ("PUT", "/v1/plan", {"rules": []}),
        ("DELETE", CHARGE, None),
        ("POST", "/v1/enable", None),
        ("POST", f"{CHARGE}/release", None),
    ],
)
def test_what_cannot_be_written_is_a_503_and_changes_nothing_here(
    method: str, path: str, body: Any, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.done("PUT", CHARGE, FAULT)
    _unusable(node, monkeypatch)
    told = node.refused(503, "store-unusable", method, path, body)
    assert "Read-only file system" in told["detail"]
    assert node.rules == ["payment.charge=raise(KeyError)"]


def test_a_disable_that_cannot_be_written_disables_this_process_and_says_so(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.done("PUT", CHARGE, FAULT)
    _unusable(node, monkeypatch)
    told = node.refused(503, "store-unusable", "POST", "/v1/disable?reason=checkout")
    assert "this process is disabled, but the store does not reach the others" in told["detail"]
    assert "Read-only file system" in told["detail"]
    assert told["cure"]
    assert not node.registry.enabled
    assert "is off (http 127.0.0.1: checkout)" in node.done("GET", "/v1/status")["why"]
    with pytest.raises(NotPermitted, match=r"is disabled \(by http 127\.0\.0\.1: checkout\)"):
        arm("payment.charge", latency=1, registry=node.registry)
    monkeypatch.undo()
    node.follow()
    assert not node.registry.enabled, "the store has not heard of it, and does not undo it"
    node.refused(409, "not-permitted", "PUT", CHARGE, FAULT)
    assert node.done("POST", "/v1/enable")["enabled"]
    assert node.rules == ["payment.charge=raise(KeyError)"]


def test_a_rule_that_cannot_be_armed_here_is_not_written(node: Node) -> None:
    for body in (
        {"exception": "no_such_module.Error"},
        {"exception": "KeyboardInterrupt"},
        {"latency": -1},
        {"latency": 1, "expires_after": "1000 years"},
    ):
        node.refused(422, "invalid-plan", "PUT", CHARGE, body)
    rules = [{"point": "payment.charge", "latency": 0}, {"point": "payment.charge", "latency": -1}]
    assert node.refused(422, "invalid-plan", "PUT", "/v1/plan", {"rules": rules})["rule"]
    assert node.store.read() == Desired()


def test_the_limits_of_the_process_are_those_of_its_endpoint(nodes: Nodes) -> None:
    limited = nodes(
        Settings(
            enabled=True,
            max_latency="1s",  # type: ignore[arg-type]
            max_expires_after="60s",  # type: ignore[arg-type]
            forbidden_points=("db.*",),
            forbidden_kinds=("hang",),
        )
    )
    limited.place("payment.charge")
    limited.place("db.query")
    for path, body in (
        (CHARGE, {"latency": 2}),
        (CHARGE, {"hang": "1s"}),
        (CHARGE, {"latency": 0.1, "expires_after": 61}),
        ("/v1/points/db.query", {"latency": 0.1}),
        (CHARGE, {"rule": "->".join(["latency(1ms)"] * 101)}),
    ):
        limited.refused(422, "limit-exceeded", "PUT", path, body)
    assert limited.store.read().generation == 0
    limited.done("PUT", CHARGE, {"latency": 0.1})
    [rule] = limited.done("GET", CHARGE)["rules"]
    assert 50 < rule["seconds_left"] <= 60


# Who goes away


def test_who_does_not_wait_for_the_answer_has_an_entry_in_the_audit_log_all_the_same(
    tmp_path: Path, nodes: Nodes
) -> None:
    node = nodes(Settings(enabled=True, audit_log=tmp_path / "audit"))
    node.place("payment.charge")
    node.follow()
    stranger(node)
    steps = node.service.steps(request("PUT", CHARGE, FAULT))
    next(steps)
    steps.close()
    [entry] = map(json.loads, (tmp_path / "audit").read_text().splitlines())
    assert entry["what"] == f"PUT {CHARGE}"
    assert entry["rules"] == ["payment.charge=raise(KeyError)"]
    assert "detail" in entry
    assert node.rules == ["payment.charge=raise(KeyError)"]
    assert not in_chaospoint.get()


def test_a_task_that_is_cancelled_while_it_waits_leaves_nothing_behind(
    tmp_path: Path, nodes: Nodes
) -> None:
    node = nodes(Settings(enabled=True, audit_log=tmp_path / "audit"))
    charge = node.place("payment.charge")
    node.follow()
    stranger(node)
    app = asgi.app(node.service)
    sent: list[Any] = []

    async def main() -> None:
        task = asyncio.create_task(_called(app, "PUT", CHARGE, FAULT, sent))
        while not node.rules:
            await tick()
        await tick()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        with pytest.raises(KeyError):
            charge()
        audit = tmp_path / "audit"
        while not (audit.exists() and audit.read_text()):  # the thread that answers writes it
            await tick()

    run(main())
    gc.collect()
    assert sent == []
    [entry] = map(json.loads, (tmp_path / "audit").read_text().splitlines())
    assert entry["what"] == f"PUT {CHARGE}"


async def _called(app: Any, method: str, path: str, body: Any, sent: list[Any]) -> None:
    raw = b"" if body is None else json.dumps(body).encode()
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(raw)).encode()),
        ],
        "client": ("127.0.0.1", 1),
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": raw}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)


def test_a_write_that_waits_does_not_keep_the_loop_from_answering_others(nodes: Nodes) -> None:
    node = nodes()
    node.place("payment.charge")
    node.follow()
    stranger(node)
    app = asgi.app(node.service)

    async def main() -> None:
        written: list[Any] = []
        others: list[Any] = []
        task = asyncio.create_task(_called(app, "PUT", CHARGE, FAULT, written))
        while not node.rules:
            await tick()
        await _called(app, "GET", "/v1/status", None, others)
        assert others[0]["status"] == 200
        assert not task.done()
        stranger(node, generation=1)
        await task
        assert json.loads(written[1]["body"])["acknowledged"] == 2

    run(main())


# Wrong tokens

TOKENS = Settings(enabled=True, admin_token="right", admin_read_token="reader")  # type: ignore[arg-type]


def test_a_wrong_token_is_held_back_longer_each_time_and_a_right_one_never(nodes: Nodes) -> None:
    node = nodes(TOKENS)
    delays = [
        node.ask("GET", "/v1/status", authorization=f"Bearer wrong{n}").delay_seconds
        for n in range(7)
    ]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for token in ("right", "reader"):
        answer = node.ask("GET", "/v1/status", authorization=f"Bearer {token}")
        assert (answer.status, answer.delay_seconds) == (200, 0.0)
    assert node.ask("GET", "/v1/status").delay_seconds == 0.0, "who sends none guesses nothing"
    assert node.ask("PUT", CHARGE, FAULT, authorization="Bearer reader").status == 403


def test_guesses_that_are_held_back_keep_no_task_with_a_token_waiting(nodes: Nodes) -> None:
    node = nodes(TOKENS)
    app = asgi.app(node.service)

    async def ask(token: bytes, sent: list[Any]) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/status",
            "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer " + token)],
            "client": ("127.0.0.1", 1),
        }

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)

    async def main() -> None:
        guesses: list[Any] = []
        held = [asyncio.create_task(ask(b"wrong", guesses)) for _ in range(50)]
        await tick()
        answered: list[Any] = []
        await ask(b"right", answered)
        assert answered[0]["status"] == 200
        assert guesses == []
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    run(main())


def test_guesses_that_are_held_back_keep_no_connection_with_a_token_waiting(nodes: Nodes) -> None:
    node = nodes(TOKENS)
    server = AdminServer(node.service, "127.0.0.1", 0, token=True)
    assert server.open()
    assert server.url is not None
    port = int(server.url.rpartition(":")[2])
    guessing: list[HTTPConnection] = []

    def ask(token: str) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        guessing.append(connection)
        connection.request("GET", "/v1/status", headers={"authorization": f"Bearer {token}"})
        return connection

    def seconds() -> float:
        began = time.monotonic()
        assert ask("right").getresponse().status == 200
        return time.monotonic() - began

    try:
        plain = seconds()
        for nth in range(40):
            ask(f"wrong{nth}")
        assert seconds() < 1.5 + 5 * plain, "others are held back for up to two seconds"
        assert guessing[1].getresponse().status == 401, "it was held back, and not forgotten"
    finally:
        for connection in guessing:
            connection.close()
        server.close()


# What is written down


def audited(node: Node, path: Path, *asked: Any, **headers: str) -> Any:
    """Return the one entry that a request made."""
    path.unlink(missing_ok=True)
    node.ask(*asked, **headers)
    [entry] = map(json.loads, path.read_text().splitlines()) if path.exists() else [None]
    return entry


def test_each_write_is_an_entry_with_who_what_and_what_came_of_it(
    tmp_path: Path, nodes: Nodes
) -> None:
    path = tmp_path / "audit"
    settings = TOKENS.model_copy(update={"audit_log": path})
    node = nodes(settings)
    node.place("payment.charge")
    token = {"authorization": "Bearer right"}
    body = {"latency": 0, "where": {"card": "4111-secret"}}
    entry = audited(node, path, "PUT", CHARGE, body, **token)
    assert entry["who"] == "control token"
    assert entry["from"] == "127.0.0.1"
    assert entry["what"] == f"PUT {CHARGE}"
    assert (entry["status"], entry["generation"], entry["pid"]) == (200, 1, os.getpid())
    assert "card" in entry["rules"][0]
    assert "4111" not in json.dumps(entry)
    assert "detail" not in entry

    for nth, (method, where) in enumerate(
        [
            ("DELETE", CHARGE),
            ("POST", f"{CHARGE}/release"),
            ("POST", "/v1/disable"),
            ("POST", "/v1/enable"),
            ("DELETE", "/v1/points"),
        ],
        2,
    ):
        entry = audited(node, path, method, where, **token)
        assert (entry["what"], entry["generation"]) == (f"{method} {where}", nth)
        assert "rules" not in entry
    assert audited(node, path, "GET", "/v1/status", **token) is None


@pytest.mark.parametrize(
    ("asked", "token", "who", "status", "words"),
    [
        (("PUT", CHARGE, FAULT), "reader", "read token", 403, "only reads"),
        (("PUT", CHARGE, {"latency": -1}), "right", "control token", 422, "latency"),
        (("PUT", "/v1/points/no.such", FAULT), "right", "control token", 404, "no.such"),
        (("PUT", "/v1/nothing", FAULT), "right", "control token", 404, "nothing"),
        (("PATCH", CHARGE), "right", "control token", 405, "PATCH"),
        (("PUT", f"{CHARGE}?dry_run=perhaps", FAULT), "right", "control token", 400, "dry_run"),
    ],
)
def test_a_refused_write_is_an_entry_that_says_why(
    asked: Any, token: str, who: str, status: int, words: str, tmp_path: Path, nodes: Nodes
) -> None:
    path = tmp_path / "audit"
    node = nodes(TOKENS.model_copy(update={"audit_log": path}))
    node.place("payment.charge")
    entry = audited(node, path, *asked, authorization=f"Bearer {token}")
    assert (entry["who"], entry["status"], entry["generation"]) == (who, status, None)
    assert words in entry["detail"]
    assert token == "right" or "Bearer" not in json.dumps(entry)


def test_who_is_not_let_in_cannot_fill_the_disk_with_entries(
    tmp_path: Path, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    """The logger tells of it, the file does not."""
    path = tmp_path / "audit"
    node = nodes(TOKENS.model_copy(update={"audit_log": path}))
    node.place("payment.charge")
    with caplog.at_level(logging.INFO, "chaospoint.audit"):
        assert audited(node, path, "PUT", CHARGE, FAULT, authorization="Bearer wrong") is None
    assert '"who": "wrong token"' in caplog.text


def test_an_order_to_disable_with_a_wrong_token_is_one_guess(nodes: Nodes) -> None:
    node = nodes(TOKENS)
    order = request("POST", "/v1/disable", headers={"authorization": "Bearer wrong"})
    assert not node.service.stop_first(order)
    response = node.service.answer(order)
    assert (response.status, response.delay_seconds) == (401, 0.1)


def test_threads_wait_for_workers_each_for_itself(nodes: Nodes) -> None:
    """`Service.answer` sleeps on the thread that called it; another is answered meanwhile."""
    node = nodes()
    node.place("payment.charge")
    node.follow()
    stranger(node)
    answers: list[Any] = []
    writing = threading.Thread(
        target=lambda: answers.append(node.service.answer(request("PUT", CHARGE, FAULT))),
        daemon=True,
    )
    writing.start()
    _until(lambda: node.rules)
    assert node.service.answer(request("GET", "/v1/status")).status == 200
    assert answers == []
    stranger(node, generation=1)
    writing.join(PATIENCE)
    assert json.loads(answers[0].body)["acknowledged"] == 2


def _until(what: Callable[[], object]) -> None:
    done = threading.Event()
    for _ in range(1000):
        if what():
            return
        done.wait(0.01)
    pytest.fail("it never came to that")


def test_what_is_written_is_no_refusal_where_the_workers_cannot_be_read(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes()
    node.place("payment.charge")
    node.follow()

    def broken(self: object) -> object:
        raise StoreError("it is broken")

    monkeypatch.setattr(type(node.store), "workers", broken)
    done = node.done("PUT", CHARGE, FAULT)
    assert (done["acknowledged"], len(done["missing"])) == (0, 1)
    assert "cannot be read: it is broken" in done["missing"][0]["why"]
    assert node.rules == ["payment.charge=raise(KeyError)"]


def test_a_plan_that_is_put_again_leaves_out_what_was_disarmed_of_its_globs(nodes: Nodes) -> None:
    node = nodes()
    node.place("payment.charge")
    refund = node.place("payment.refund")
    node.done("PUT", "/v1/points/payment.*", FAULT)
    node.done("DELETE", "/v1/points/payment.refund")
    node.done("PUT", "/v1/plan", node.done("GET", "/v1/plan"))
    assert refund() == "done"
    node.done("PUT", "/v1/points/payment.*", FAULT)
    with pytest.raises(KeyError):
        refund()


def test_a_put_answers_with_what_is_to_be_remarked(nodes: Nodes) -> None:
    node = nodes(Settings(enabled=True, forbidden_points=("payment.refund",)))
    node.place("payment.charge")
    plan = {"rules": ["payment.chrage=off", "payment.*=off"]}
    typo, left_out = node.done("PUT", "/v1/plan", plan)["remarks"]
    assert "'payment.chrage'" in typo
    assert "payment.charge" in typo
    assert "leaves out payment.refund: CHAOSPOINT_FORBIDDEN_POINTS" in left_out
    assert node.done("PUT", CHARGE, FAULT)["remarks"] == []


def test_an_argument_that_looks_secret_is_not_asked_for(nodes: Nodes) -> None:
    """Or its reaches would tell its letters, one after the other."""
    node = nodes(Settings(enabled=True, secret_arguments=("iban",)))
    node.place("payment.charge")
    for name in ("password", "iban"):
        body = {"rule": "off", "where": {name: ["h*"]}}
        for method, path, sent in (
            ("PUT", "/v1/points/payment.charge", body),
            ("PUT", "/v1/plan", {"rules": [{"point": "payment.charge", **body}]}),
        ):
            answer = node.ask(method, path, sent)
            assert answer.status == 422
            assert b"may be a secret" in answer.body
    assert node.rules == []


def test_a_deadline_is_a_day_away_at_the_most_unless_a_limit_says_more(nodes: Nodes) -> None:
    node = nodes()
    node.place("payment.charge")
    point = "/v1/points/payment.charge"
    for method, path, body in (
        ("PUT", point, {"latency": "1ms", "expires_after": "25h"}),
        ("PUT", "/v1/plan", {"rules": [{"point": "a", "latency": 1, "expires_after": "3650d"}]}),
    ):
        answer = node.ask(method, path, body)
        assert answer.status == 422
        assert b"CHAOSPOINT_MAX_EXPIRES_AFTER" in answer.body
    node.done("PUT", point, {"latency": "1ms", "expires_after": "24h"})
    assert node.ask("POST", f"{point}/renew", {"expires_after": "25h"}).status == 422
    assert Limits(max_expires_after=172_800.0).of_strangers.max_expires_after == 172_800.0
