"""Start real services with workers and an admin endpoint, and end them after the test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

PROGRAMS = Path(__file__).parents[1] / "programs"
START_SECONDS = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def redis() -> Iterator[str]:
    """The address of a new Redis without persistence."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "/"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + START_SECONDS
            while not _answers(port):
                assert process.poll() is None, "redis-server ended"
                assert time.monotonic() < until
                time.sleep(0.01)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


class Service:
    """A program with several workers that share a store."""

    def __init__(self, command: Sequence[str], port: int, directory: Path) -> None:
        self.admin_port = free_port()
        self._port = port
        self.store = f"file://{directory}/store"
        self.log = directory / "log"
        self._admin = httpx.Client(
            base_url=f"http://127.0.0.1:{self.admin_port}", timeout=START_SECONDS, trust_env=False
        )
        clean = {name: value for name, value in os.environ.items() if "CHAOSPOINT" not in name}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=PROGRAMS,
                env=clean
                | {
                    "CHAOSPOINT_ENABLED": "true",
                    "CHAOSPOINT_ADMIN": f"127.0.0.1:{self.admin_port}",
                    "CHAOSPOINT_STORE": self.store,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request to the admin endpoint; fail unless it succeeds."""
        answer = self._admin.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def until(self, what: Callable[[], Any], seconds: float = START_SECONDS) -> Any:
        """Wait until ``what`` is true of the service; it may refuse connections meanwhile."""
        until = time.monotonic() + seconds
        while True:
            try:
                if found := what():
                    return found
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"waited for {what}:\n{self.log.read_text()}")
            time.sleep(0.01)

    def requests(self, count: int = 200) -> list[dict[str, Any]]:
        """Send many requests at once, each on a new connection."""

        def one(_: int) -> Any:
            with closing(
                HTTPConnection("127.0.0.1", self._port, timeout=START_SECONDS)
            ) as connection:
                connection.request("GET", "/")
                return json.load(connection.getresponse())

        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(one, range(count)))

    def end(self) -> None:
        self._admin.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its own group: a gentle end is slow
        self.process.wait(10)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start a service: ``serve("gunicorn", ..., "{port}", ...)``."""
    started: list[Service] = []

    def start(*command: str) -> Service:
        port = free_port()
        filled = [word.format(port=port) for word in command]
        started.append(Service(filled, port, tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.end()
