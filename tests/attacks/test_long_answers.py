"""Answers about many points and rules come in pages, and none holds up a mounted app's loop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import pytest
from helpers import PATIENCE, python

from chaospoint import Plan, Registry
from chaospoint._kernel.armed_rule import ArmedRule
from chaospoint._kernel.names import matches
from chaospoint.arming import arm
from chaospoint.cli.http_target import HttpTarget
from chaospoint.control import asgi, off_loop
from chaospoint.control.http import Request, Response
from chaospoint.control.pages import USUAL
from chaospoint.control.server.admin import AdminServer
from chaospoint.control.service import Service
from chaospoint.control.views import Views
from chaospoint.observers.journal import LONGEST
from chaospoint.sources.settings import Settings

POINTS, GLOBS = 10_000, 1_000
NAMES = sorted(f"svc{n % 50}.op{n}" for n in range(POINTS))


@pytest.fixture
def full(registry: Registry) -> Iterator[Registry]:
    """Many points, and as many globs as a store may hold."""
    for name in NAMES:
        registry.point(name)
    texts = [f"svc*.op*{n}*=off [skip=1]" for n in range(GLOBS)]
    handle = arm(Plan.parse(";".join(texts)), registry=registry)
    yield registry
    handle.disarm()


@pytest.fixture
def small(registry: Registry) -> Registry:
    for name in NAMES[:250]:
        registry.point(name)
    return registry


def ask(service: Service, path: str, query: str = "", method: str = "GET", **body: Any) -> Response:
    headers = {"host": "127.0.0.1", "content-type": "application/json"}
    sent = json.dumps(body).encode() if body else b""
    request = Request(method, path, headers=headers, body=sent, client="127.0.0.1", query=query)
    return service.answer(request)


def pages(service: Service, path: str, limit: int) -> list[dict[str, Any]]:
    """Follow the links of the answers."""
    found = []
    query = f"limit={limit}"
    while True:
        answer = ask(service, path, query)
        assert answer.status == 200
        found.append(json.loads(answer.body))
        link = answer.headers.get("link")
        assert (link is None) is (found[-1]["next"] is None)
        if link is None:
            return found
        target, _, relation = link.partition(">; ")
        assert (target[:2], relation) == ("<?", 'rel="next"')
        query = target[2:]
        assert parse_qs(query) == {"limit": [str(limit)], "after": [found[-1]["next"]]}


def test_all_of_many_are_found_page_by_page(full: Registry) -> None:
    service = Service.of(Settings(enabled=True), full)
    points = pages(service, "/v1/points", LONGEST)
    assert [one["name"] for page in points for one in page["points"]] == NAMES
    assert max(len(page["points"]) for page in points) == LONGEST
    rules = pages(service, "/v1/status", 300)
    texts = [one["text"] for page in rules for one in page["rules"]]
    assert texts == [rule.text for rule in full.rules()]
    matched = pages(service, "/v1/points/svc1.*", 90)
    names = [name for page in matched for name in page["points"]]
    assert names == [name for name in NAMES if name.startswith("svc1.")]
    at = pages(service, f"/v1/points/{NAMES[-1]}", 7)
    assert [one["text"] for page in at for one in page["rules"]] == [
        rule.text for rule in full.rules(NAMES[-1])
    ]


@pytest.mark.parametrize("path", ["/v1/status", "/v1/points", "/v1/points/*"])
def test_an_answer_is_short_unless_more_is_asked_for(full: Registry, path: str) -> None:
    service = Service.of(Settings(enabled=True), full)
    answer = ask(service, path)
    assert answer.status == 200
    told = json.loads(answer.body)
    assert len(told.get("points" if "points" in path else "rules")) == USUAL
    assert len(answer.body) < 100_000


def test_a_long_name_leads_to_the_page_behind_it(registry: Registry) -> None:
    names = sorted("abc"[n] * 300 for n in range(3))
    for name in names:
        registry.point(name)
    service = Service.of(Settings(enabled=True), registry)
    for path in ("/v1/points", "/v1/points/*"):
        told = [one for page in pages(service, path, 1) for one in page["points"]]
        assert [one if path.endswith("*") else one["name"] for one in told] == names


@pytest.mark.parametrize(("points", "rules"), [(25, 1), (1, 25), (25, 25), (30, 25), (10, 20)])
def test_the_points_and_the_rules_of_a_glob_are_all_found(
    registry: Registry, points: int, rules: int
) -> None:
    names = [f"svc.op{n:02}" for n in range(points)]
    for name in names:
        registry.point(name)
    for n in range(rules):
        arm("svc.*", latency=n, registry=registry)
    arm("*", latency=100, registry=registry)
    found = pages(Service.of(Settings(enabled=True), registry), "/v1/points/svc.*", 10)
    assert [name for page in found for name in page["points"]] == names
    texts = [one["text"] for page in found for one in page["rules"]]
    assert texts == [one.text for one in registry.rules()]
    assert len(texts) == rules + 1
    assert max(len(page[key]) for page in found for key in ("points", "rules")) == 10
    assert len(found) == -(-max(points, rules + 1) // 10)


def test_the_rules_of_a_glob_are_found_without_comparing_each_with_each_point(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"svc.op{n:02}" for n in range(100)]
    for name in (*names, *(f"x{n}.op00" for n in range(100))):
        registry.point(name)
    texts = [*(f"x{n}.*=off" for n in range(100)), "*.op00=off", "*.op07=off", "svc.op*=off"]
    arm(Plan.parse(";".join([*texts, "svc.op09=off"])), registry=registry)
    registry.disarm("svc.op07")
    stand = [
        rule.text
        for rule in registry.rules()
        if matches("svc.*", rule.pattern) or any(map(rule.covers, names))
    ]
    assert [text.partition("=")[0] for text in stand] == ["*.op00", "svc.op*", "svc.op09"]
    compared, real = [], ArmedRule.covers

    def covers(rule: ArmedRule, name: str) -> bool:
        compared.append(name)
        return real(rule, name)

    monkeypatch.setattr(ArmedRule, "covers", covers)
    told = json.loads(ask(Service.of(Settings(enabled=True), registry), "/v1/points/svc.*").body)
    assert [rule["text"] for rule in told["rules"]] == stand
    assert len(compared) <= len(texts)


@pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning")
def test_a_point_that_only_a_later_rule_fits_is_listed(registry: Registry) -> None:
    @registry.point("svc.one")
    def one(user: str) -> str:
        return user

    arm("svc.*", latency=1, where={"user": "x"}, registry=registry)
    for n in range(10):
        arm("svc.*", latency=1, where={"other": n}, registry=registry)
    service = Service.of(Settings(enabled=True), registry)
    told = json.loads(ask(service, "/v1/points/svc.*", "limit=1").body)
    assert (told["points"], len(told["rules"])) == (["svc.one"], 1)


def test_pages_hold_where_rules_come_and_go(small: Registry) -> None:
    service = Service.of(Settings(enabled=True), small)
    handles = [arm("svc1.*", latency=n, registry=small) for n in range(10)]
    first = json.loads(ask(service, "/v1/status", "limit=4").body)
    handles[9].disarm()  # the first of them
    handles[6].disarm()  # that with the mark
    arm("svc1.*", latency=11, registry=small)
    rest = json.loads(ask(service, "/v1/status", f"limit=100&after={first['next']}").body)
    texts = [one["text"] for one in (*first["rules"], *rest["rules"])]
    assert texts[:10] == [
        f"svc1.*=latency({n}s)" if n else "svc1.*=latency(0ms)" for n in range(9, -1, -1)
    ]
    assert rest["next"] is None


def test_ended_rules_come_after_armed_ones(small: Registry) -> None:
    service = Service.of(Settings(enabled=True), small)
    for n in range(3):
        arm("svc1.*", latency=n + 1, registry=small)
        small.engine.remove(small.rules(), "failed")
    arm("svc1.*", latency=9, registry=small)
    texts = [one["text"] for page in pages(service, "/v1/status", 1) for one in page["rules"]]
    assert texts[0] == "svc1.*=latency(9s)"
    assert len(texts) == len(set(texts)) == 4


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "before=a"])
@pytest.mark.parametrize("path", ["/v1/status", "/v1/points", "/v1/points/svc1.*"])
def test_no_page_is_longer(small: Registry, path: str, query: str) -> None:
    service = Service.of(Settings(enabled=True), small)
    assert ask(service, path, query).status == 400


@pytest.mark.parametrize("after", ["%F0%9F%90%9D", "+", "a+b+c", "%00", "a" * 300 + "%21"])
def test_a_mark_of_no_list_is_refused(small: Registry, after: str) -> None:
    arm("svc1.*", latency=1, registry=small)
    service = Service.of(Settings(enabled=True), small)
    for path in ("/v1/status", "/v1/points", "/v1/points/svc1.*", f"/v1/points/{NAMES[0]}"):
        answer = ask(service, path, f"after={after}")
        assert answer.status == 400
        assert len(answer.body) < 1000


def test_a_mark_of_what_is_gone_is_only_a_place(small: Registry) -> None:
    arm("svc1.*", latency=1, registry=small)
    service = Service.of(Settings(enabled=True), small)
    rule = f"0.{'f' * 16}.{'0' * 16}"
    for path, mark in (
        ("/v1/status", rule),
        ("/v1/points", "a" * 300),
        ("/v1/points/svc1.*", f"x {rule}"),
        (f"/v1/points/{NAMES[0]}", f"~ {rule}"),
    ):
        assert ask(service, path, f"after={mark.replace(' ', '+')}").status == 200


def test_a_preview_is_short_too(full: Registry) -> None:
    service = Service.of(Settings(enabled=True), full)
    rules = [f"*=off [user=x{n}]" for n in range(1000)]
    answer = ask(service, "/v1/plan", "dry_run=true", "PUT", rules=rules)
    told = json.loads(answer.body)["rules"]
    assert len(told) == 1000
    assert sum(len(rule["points"]) for rule in told) == LONGEST
    assert len(told[0]["points"]) == USUAL
    for rule in told:
        assert len(rule["points"]) + rule["more_points"] == POINTS


def test_renewing_and_arming_answer_with_the_first(small: Registry) -> None:
    service = Service.of(Settings(enabled=True), small)
    rules = [f"svc1.*=latency({n}s)" for n in range(1, 251)]
    assert ask(service, "/v1/plan", "", "PUT", rules=rules).status == 200
    renewed = json.loads(ask(service, "/v1/points/svc1.*/renew", "", "POST").body)
    assert (renewed["renewed"], len(renewed["rules"])) == (250, USUAL)
    put = json.loads(ask(service, "/v1/points/*", "", "PUT", latency=1).body)
    assert (len(put["points"]), put["next"]) == (USUAL, f"{NAMES[USUAL - 1]} ~")


def test_the_command_line_follows_the_pages(small: Registry) -> None:
    for n in range(150):
        arm("svc1.*", latency=n, registry=small)
    server = AdminServer(Service.of(Settings(enabled=True), small), "127.0.0.1", 0, token=False)
    server.open()
    target = HttpTarget(str(server.url), None)
    try:
        assert [one["name"] for one in target.points()["points"]] == sorted(NAMES[:250])
        assert len(target.status()["rules"]) == 150
        point = next(name for name in NAMES if name.startswith("svc1."))
        assert len(target.point(point)["rules"]) == 150
        assert len(target.point("*")["points"]) == 250
        matched = target.point("svc1.*")
        assert [one["text"] for one in matched["rules"]] == [one.text for one in small.rules()]
        assert matched["points"] == [name for name in NAMES[:250] if name.startswith("svc1.")]
        for told in (target.points(), target.status(), target.point(point), matched):
            assert told["next"] is None
    finally:
        target.close()
        server.close()


# The loop


def http(path: str, method: str = "GET", body: bytes = b"", query: bytes = b"") -> Any:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "sent": body,
    }


async def answer(app: asgi.App, scope: Any) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": scope["sent"]}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


class Gate:
    """Holds a method of the views on other threads until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        own = threading.get_ident()
        real: Callable[..., Any] = getattr(Views, name)

        def held(views: Views, *args: Any, **keys: Any) -> Any:
            if threading.get_ident() != own:
                self.entered.set()
                assert self.open.wait(PATIENCE)
            return real(views, *args, **keys)

        monkeypatch.setattr(Views, name, held)


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("status", http("/v1/status")),
        ("points", http("/v1/points", query=b"limit=1000")),
        ("point", http("/v1/points/svc1.*")),
        ("injections", http("/v1/injections")),
        ("known", http("/v1/points/svc1.*", "PUT", b'{"latency": 0}')),
        ("check_known", http("/v1/points/svc1.*", "DELETE")),
    ],
)
def test_the_loop_of_a_mounted_app_turns_meanwhile(
    small: Registry, monkeypatch: pytest.MonkeyPatch, name: str, scope: Any
) -> None:
    gate = Gate(monkeypatch, name)
    app = asgi.app(Service.of(Settings(enabled=True), small))

    async def main() -> tuple[int, bytes]:
        asked = asyncio.create_task(answer(app, scope))
        while not gate.entered.is_set():
            assert not asked.done(), "it was answered on the loop"
            await asyncio.sleep(0)
        status, _ = await answer(app, http("/v1/disable", "POST"))
        assert status == 200
        assert not asked.done()
        gate.open.set()
        return await asked

    status, _ = asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert status in (200, 409)


def test_a_request_that_nobody_waits_for_ends(
    small: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "points")
    app = asgi.app(Service.of(Settings(enabled=True), small))

    async def main() -> None:
        asked = asyncio.create_task(answer(app, http("/v1/points")))
        while not gate.entered.is_set():
            await asyncio.sleep(0)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    gate.open.set()
    off_loop._thread().submit(int).result(PATIENCE)  # the thread is done with what came before
    assert not off_loop._in_flight


def test_without_a_thread_the_loop_answers(
    small: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(off_loop, "_threads", [])
    monkeypatch.setattr(threading.Thread, "start", refused)
    app = asgi.app(Service.of(Settings(enabled=True), small))
    status, body = asyncio.run(answer(app, http("/v1/points")))
    assert status == 200
    assert len(json.loads(body)["points"]) == USUAL
    assert not off_loop._in_flight


def test_a_loop_that_is_not_of_asyncio_answers_itself(small: Registry) -> None:
    app = asgi.app(Service.of(Settings(enabled=True), small))
    for scope in (http("/v1/points"), http("/v1/disable", "POST")):
        steps = answer(app, scope)
        with pytest.raises(StopIteration) as end:
            steps.send(None)  # it waits for nothing
        assert end.value.value[0] == 200
    assert not small.enabled


def test_clients_that_ask_for_everything_do_not_hold_up_the_order_to_disable(
    small: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "status")
    app = asgi.app(Service.of(Settings(enabled=True), small))

    async def main() -> Counter[int]:
        asked = [asyncio.create_task(answer(app, http("/v1/status"))) for _ in range(300)]
        while not gate.entered.is_set():
            await asyncio.sleep(0)
        status, _ = await answer(app, http("/v1/disable", "POST"))
        assert status == 200
        assert not small.enabled
        gate.open.set()
        return Counter(status for status, _ in await asyncio.gather(*asked))

    answers = asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert answers == {200: off_loop.MOST, 503: 300 - off_loop.MOST}


def test_many_requests_at_once_are_answered(small: Registry) -> None:
    app = asgi.app(Service.of(Settings(enabled=True), small))

    async def main() -> list[tuple[int, bytes]]:
        return await asyncio.gather(*(answer(app, http("/v1/points")) for _ in range(100)))

    answers = asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert {status for status, _ in answers} == {200}


@pytest.mark.parametrize("fork", ["os.fork()", "ctypes.PyDLL(None).fork()"], ids=["python", "c"])
def test_a_forked_child_answers_on_threads_of_its_own(fork: str) -> None:
    program = f"""
        import asyncio, ctypes, os, threading
        from chaospoint._kernel.process import made_anew
        from chaospoint.control.http import Response
        from chaospoint.control.off_loop import answered

        response = Response(200, {{}}, b"")
        entered, gate = threading.Event(), threading.Event()

        def held():
            entered.set()
            gate.wait({PATIENCE})
            return response
            yield

        def quick():
            print(threading.current_thread().name, flush=True)
            return response
            yield

        serving = threading.Thread(target=lambda: asyncio.run(answered(held())))
        serving.start()
        assert entered.wait({PATIENCE})
        child = {fork}
        if child == 0:
            made_anew()
            asyncio.run(answered(quick()))
            os._exit(0)
        os.waitpid(child, 0)
        gate.set()
        serving.join({PATIENCE})
        asyncio.run(answered(quick()))
    """
    assert python(program).stdout.split() == ["chaospoint-request_0"] * 2


def test_steps_whose_task_is_cancelled_are_closed_on_the_thread() -> None:
    """Closing writes to the audit log, which must not hold up the loop."""
    begun, closed = threading.Event(), threading.Event()
    threads: list[str] = []

    def take() -> Generator[float, None, Response]:
        try:
            begun.set()
            while True:
                yield 60.0
        finally:
            threads.append(threading.current_thread().name)
            closed.set()

    steps = take()  # held, so that the collector does not close it

    async def main() -> None:
        task = asyncio.create_task(off_loop.answered(steps))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(closed.wait, PATIENCE)

    asyncio.run(main())
    assert threads == ["chaospoint-request_0"]
