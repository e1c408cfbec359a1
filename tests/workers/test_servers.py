"""One write reaches every worker of a real server, and another worker takes over the port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Service

pytestmark = pytest.mark.once

GUNICORN = ("gunicorn", "paying:wsgi", "--bind", "127.0.0.1:{port}", "--workers", "4")
SERVERS = {
    "gunicorn": GUNICORN,
    "gunicorn --preload": (*GUNICORN, "--preload"),
    "uvicorn": (
        *("uvicorn", "paying:asgi", "--port", "{port}", "--workers", "4"),
        *("--no-access-log", "--lifespan", "off"),
    ),
}
PROGRAMS = Path(__file__).parents[1] / "programs"
FAULT = {"exception": "TimeoutError"}


@pytest.mark.parametrize("server", SERVERS)
def test_the_workers_of_a_server_are_one_service(
    server: str, serve: Callable[..., Service]
) -> None:
    _is_one_service(serve(*SERVERS[server]), requests=200)


def _is_one_service(service: Service, requests: int) -> None:
    """Every request sees a single write, and another worker takes over the admin port."""
    serving = service.until(lambda: workers_of(service))

    began = time.monotonic()
    written = service.ask("PUT", "/v1/points/payment.charge", FAULT)
    plain = time.monotonic() - began
    assert written["acknowledged"] == written["workers"] >= 4
    assert said(service.requests()) == {"timed out": requests}

    off = service.ask("POST", "/v1/disable")
    assert off["acknowledged"] == off["workers"]
    assert said(service.requests()) == {"paid": requests}
    assert service.ask("POST", "/v1/enable")["enabled"]
    assert said(service.requests()) == {"paid": requests}

    holder = service.ask("GET", "/v1/status")["pid"]
    assert holder in serving
    os.kill(holder, signal.SIGKILL)
    killed = time.monotonic()
    written = service.until(lambda: service.ask("PUT", "/v1/points/payment.charge", FAULT))
    assert time.monotonic() - killed < 2.0 + 5 * plain, written
    assert "missing" not in written
    service.until(lambda: workers_of(service) - {holder})  # the server has replaced it
    answers = service.requests()
    assert said(answers) == {"timed out": requests}
    assert service.ask("GET", "/v1/status")["pid"] != holder
    assert holder not in {answer["pid"] for answer in answers}
    assert "missing" not in service.ask("POST", "/v1/disable")


def workers_of(service: Service) -> set[int]:
    """Wait for all workers and for an answer from a serving one; return the pids."""
    told = service.ask("GET", "/v1/workers")["workers"]
    parents = {one["parent"] for one in told}
    serving = {one["pid"] for one in told if one["id"] not in parents}
    answering = {one["pid"] for one in told if one["answering"]}
    there = len(serving) == 4 and answering <= serving
    return serving if there else set()


def said(answers: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(answer["said"] for answer in answers))


@pytest.mark.ci
def test_a_celery_prefork_pool_is_one_service(
    serve: Callable[..., Service], redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent creates the first point, takes the port, and leaves it to its forked pool."""
    monkeypatch.setenv("PAYING_BROKER", redis)
    service = serve(
        *("celery", "--quiet", "-A", "paying_tasks", "worker", "--pool", "prefork"),
        *("--concurrency", "4", "--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
    service.requests = partial(_tasks, count=200)  # type: ignore[method-assign]
    _is_one_service(service, requests=200)


def _tasks(count: int) -> list[dict[str, Any]]:
    command = [sys.executable, str(PROGRAMS / "paying_tasks.py"), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told
