"""The process has no file descriptor left; the admin endpoint goes on, at no cost."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from socket import create_connection
from time import monotonic

import httpx
import pytest
from promptness import at_best, most_seconds

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are counted on POSIX")

SERVICE = """
import os, resource, sys, time
from chaospoint._registry.registry import Registry
from chaospoint.stores.reconciler import Reconciler, use
from chaospoint.control.server.admin import AdminServer
from chaospoint.control.service import Service
from chaospoint.sources.settings import Settings
from chaospoint.stores import open_store

registry = Registry()
registry.point("a.b")
settings = Settings(enabled=True, store=sys.argv[1])
reconciler = Reconciler(open_store(sys.argv[1]), registry)
use(registry, reconciler)
reconciler.reconcile()
server = AdminServer(Service.of(settings, registry), "127.0.0.1", 0, token=False)
assert server.open()
resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
print(server.url, flush=True)
for command in sys.stdin:
    if command == "fill\\n":
        try:
            while True:
                os.dup(0)
        except OSError as error:
            print(error.errno, flush=True)
    else:
        print(time.process_time(), flush=True)
"""


@pytest.mark.alone
def test_disable_is_answered_without_descriptors_and_waiting_costs_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-c", SERVICE, f"file://{store}"]
    with (
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        ) as service,
        ExitStack() as strangers,
    ):
        assert service.stdin
        assert service.stdout
        try:
            url = service.stdout.readline().strip()

            def say(what: str) -> float:
                assert service.stdin
                assert service.stdout
                service.stdin.write(f"{what}\n")
                return float(service.stdout.readline())

            def ask(method: str, path: str) -> None:
                answer = httpx.request(method, url + path, timeout=30, trust_env=False)
                assert answer.status_code == 200, answer.text

            most = most_seconds(lambda: ask("GET", "/v1/status"))
            assert say("fill") == 24  # EMFILE
            where = httpx.URL(url)
            for _ in range(30):  # more than there is room for
                strangers.enter_context(create_connection((where.host, where.port), timeout=10))
            assert at_best(lambda: ask("POST", "/v1/disable")) < most
            assert json.loads((store / "desired.json").read_text())["enabled"] is False

            # Clients that wait take no processor time; without a rest this is a whole core.
            before, began = say("time"), monotonic()
            with pytest.raises(subprocess.TimeoutExpired):
                service.wait(1.0)
            assert say("time") - before < 0.3 * (monotonic() - began)
            strangers.close()
            assert at_best(lambda: ask("GET", "/v1/status")) < most
        finally:
            service.kill()
            _, said = service.communicate()
    assert said.count("has run out of file descriptors") == 1, said
