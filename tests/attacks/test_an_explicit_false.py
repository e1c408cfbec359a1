"""If ``CHAOSPOINT_ENABLED`` is false, no way of arming works."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import python

import chaospoint
from chaospoint import Plan, Registry, Rule, _environ, config
from chaospoint._environ import KNOWN
from chaospoint.arming import arm, armed, enable
from chaospoint.control import asgi
from chaospoint.control.http import Request
from chaospoint.control.service import Service
from chaospoint.errors import NotPermitted
from chaospoint.sources.settings import Settings, permission
from chaospoint.stores import open_store
from chaospoint.testing import Chaos, explore

WORDS = ["false", "no", "off", "0", " False "]


@pytest.fixture(autouse=True)
def _stopped() -> Iterator[None]:
    yield
    config.stop()


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSPOINT_ENABLED", "false")


@pytest.fixture
def charge(registry: Registry) -> Callable[[], str]:
    @registry.point("a.b")
    def charge() -> str:
        return "paid"

    return charge


def put(service: Service, path: str = "/v1/points/a.b") -> int:
    headers = {"host": "127.0.0.1", "content-type": "application/json"}
    return service.answer(
        Request("PUT", path, headers=headers, body=b'{"returns": 2}', client="127.0.0.1")
    ).status


@pytest.mark.parametrize("word", WORDS)
def test_start_with_settings_arms_nothing(
    registry: Registry,
    charge: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    word: str,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("CHAOSPOINT_ENABLED", word)
    plan = tmp_path / "plan.json"
    plan.write_text('["a.b=return(2)"]')
    store = open_store(f"file://{tmp_path}/store")
    rules = [(Rule.parse("a.b=return(2)"), None)]
    store.update(lambda one: one.put(rules, default_seconds=60, by="t", now=0.0))
    settings = Settings(
        enabled=True, points="a.b=return(2)", config=plan, store=store.url, admin="127.0.0.1:0"
    )
    config.start(settings, registry=registry)
    assert charge() == "paid"
    assert not registry.rules()
    assert "pass despite_environment=True as well" in caplog.text
    with pytest.raises(NotPermitted):
        arm("a.b", returns=2, registry=registry)


WAYS: dict[str, Callable[[Registry], object]] = {
    "arm": lambda registry: arm("a.b", returns=2, registry=registry),
    "a plan": lambda registry: arm(Plan.parse("a.b=return(2)"), registry=registry),
    "armed": lambda registry: armed("a.b", returns=2, registry=registry).__enter__(),
    "enable": lambda registry: enable(registry=registry),
    "a test": lambda registry: Chaos(registry=registry).__enter__().arm("a.b", returns=2),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("off")
def test_no_code_arms(registry: Registry, charge: Callable[[], str], way: str) -> None:
    config.start(Settings(enabled=True), registry=registry)
    with pytest.raises(NotPermitted, match="CHAOSPOINT_ENABLED is false"):
        WAYS[way](registry)
    assert charge() == "paid"
    assert not registry.rules()


@pytest.mark.usefixtures("off")
def test_no_exploration_arms(registry: Registry, charge: Callable[[], str]) -> None:
    seen: list[str] = []
    report = explore(lambda: seen.append(charge()), exceptions=[TimeoutError], registry=registry)
    assert seen[0] == "paid"
    assert set(seen) == {"paid"}
    assert "CHAOSPOINT_ENABLED is false" in str(report)


@pytest.mark.usefixtures("off")
def test_no_request_arms(registry: Registry, charge: Callable[[], str]) -> None:
    service = Service.of(Settings(enabled=True), registry)
    assert put(service) == 403
    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps({"returns": 2}).encode()}

    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/v1/points/a.b",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(asgi.app(service)(scope, receive, send))
    assert statuses[0] == 403
    assert charge() == "paid"


@pytest.mark.parametrize("start", ["", "chaospoint.start(Settings(enabled=True, points=POINTS))"])
def test_no_fresh_process_arms(start: str) -> None:
    done = python(
        f"""
        import chaospoint
        from chaospoint.config import Settings

        POINTS = "a.f=return(2)"
        f = chaospoint.point("a.f")(lambda: 1)
        {start}
        print(f())
        """,
        CHAOSPOINT_ENABLED="false",
        CHAOSPOINT_POINTS="a.f=return(2)",
    )
    assert done.stdout == "1\n"


# What overrides it


@pytest.mark.usefixtures("off")
def test_only_settings_that_say_so_override_it(
    registry: Registry, charge: Callable[[], str]
) -> None:
    settings = Settings(enabled=True, despite_environment=True, points="a.b=return(2)")
    config.start(settings, registry=registry)
    assert charge() == 2
    chaospoint.arming.disable(registry=registry)
    enable(registry=registry)
    with armed("a.b", returns=3, registry=registry):
        assert charge() == 3
    assert put(Service.of(settings, registry)) == 200
    config.stop()
    with pytest.raises(NotPermitted):
        arm("a.b", returns=2, registry=registry)


@pytest.mark.usefixtures("off")
def test_it_overrides_nothing_without_enabled() -> None:
    assert not permission(Settings(despite_environment=True)).allowed
    assert not permission(Settings(enabled=False, despite_environment=True)).allowed


@pytest.mark.usefixtures("off")
def test_no_variable_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSPOINT_DESPITE_ENVIRONMENT", "true")
    assert "DESPITE_ENVIRONMENT" not in KNOWN
    assert not Settings().despite_environment
    assert not permission(Settings(enabled=True)).allowed


@pytest.mark.usefixtures("off")
def test_a_stop_that_fails_ends_it_all_the_same(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise OSError("no luck")

    registry.point("a.b")
    config.start(Settings(enabled=True, despite_environment=True), registry=registry)
    running = config._running
    assert running is not None
    with monkeypatch.context() as patch:
        patch.setattr(running._sources, "clear", fail)
        with pytest.raises(OSError, match="no luck"):
            config.stop()
    with pytest.raises(NotPermitted):
        arm("a.b", returns=2, registry=registry)
    running.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_that_is_forked_in_the_middle_of_stop_has_nothing_of_it(tmp_path: Path) -> None:
    """Neither the permission to arm, nor rules from outside, nor the threads that follow these."""
    said = python(
        f"""
        import os, threading
        import chaospoint
        from chaospoint import config
        from chaospoint._kernel import rounds
        from chaospoint.errors import NotPermitted

        @chaospoint.point("a.b")
        def charge():
            return 1

        open("{tmp_path}/plan.yaml", "w").write("rules: []")
        chaospoint.start(config.Settings(
            enabled=True, despite_environment=True, points="a.b=return(2)",
            config="{tmp_path}/plan.yaml", store="file://{tmp_path}/store"))
        running, go_on, inside = config._running, threading.Event(), threading.Event()
        wait = running.wait_until_started

        def linger():
            inside.set()
            assert go_on.wait(30)
            wait()

        running.wait_until_started = linger
        stopping = threading.Thread(target=config.stop)
        stopping.start()
        assert inside.wait(30)
        if (pid := os.fork()) == 0:
            rounds._restart_dead()
            names = {{one.name for one in threading.enumerate()}}
            try:
                chaospoint.arm("a.b", returns=3)
            except NotPermitted:
                print(charge(), names & {{"chaospoint-store", "chaospoint-poller"}}, flush=True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        go_on.set()
        stopping.join()
        print(charge())
        """,
        "-W",
        "ignore::DeprecationWarning",  # of a fork beside other threads
        CHAOSPOINT_ENABLED="false",
    )
    assert said.stdout.splitlines() == ["1 set()", "1"]


def test_it_changes_nothing_where_the_environment_does_not_forbid(registry: Registry) -> None:
    config.start(Settings(enabled=True, despite_environment=True), registry=registry)
    assert _environ.overrides
    config.stop()
    assert not _environ.overrides


@pytest.mark.parametrize("enabled", [True, None])
def test_what_overrides_it_is_said_in_the_log_and_in_the_status(
    enabled: bool | None,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its reader would look for a variable that is true."""
    monkeypatch.setenv("CHAOSPOINT_ENABLED", "false")
    given = {} if enabled is None else {"enabled": enabled}
    settings = Settings(despite_environment=True, **given)
    allowed = permission(settings)
    assert allowed.allowed is bool(enabled)
    with caplog.at_level(logging.INFO, "chaospoint"):
        config.start(settings, registry=registry)
        config.stop()
    warned = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    if enabled:
        assert warned == [f"chaospoint starts although {allowed.why}"]
        assert "is false, which Settings(despite_environment=True) overrides" in allowed.why
    else:
        assert allowed.why.endswith("pass enabled=True beside despite_environment=True")
