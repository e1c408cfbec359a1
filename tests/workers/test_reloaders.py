"""With reloading development servers, the serving process answers at the admin port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import SOURCE

pytestmark = pytest.mark.once
PATIENCE = 30.0
FLASK = """
import os
import chaospoint
from flask import Flask

app = Flask(__name__)

@chaospoint.point("shop.price")
def price():
    return "real"

@app.get("/")
def home():
    try:
        return f"{os.getpid()} {price()}"
    except TimeoutError:
        return f"{os.getpid()} timed out"

if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]), debug=True)
"""
DJANGO = """
import os
import sys
import chaospoint
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path

settings.configure(DEBUG=True, ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])

@chaospoint.point("shop.price")
def price():
    return "real"

def home(request):
    try:
        return HttpResponse(f"{os.getpid()} {price()}")
    except TimeoutError:
        return HttpResponse(f"{os.getpid()} timed out")

urlpatterns = [path("", home)]

if __name__ == "__main__":
    execute_from_command_line([sys.argv[0], "runserver", os.environ["PORT"]])
"""
UVICORN = """
import os
import chaospoint
import uvicorn

@chaospoint.point("shop.price")
def price():
    return "real"

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    try:
        said = price()
    except TimeoutError:
        said = "timed out"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{os.getpid()} {said}".encode()})

if __name__ == "__main__":
    uvicorn.run("app:app", port=int(os.environ["PORT"]), reload=True, lifespan="off")
"""
SERVERS = {
    "Flask, app.run": (FLASK, ["app.py"]),
    "Flask, flask run": (FLASK, ["-m", "flask", "--app", "app", "run", "--debug"]),
    "Django, runserver": (DJANGO, ["app.py"]),
    "uvicorn, reload": (UVICORN, ["app.py"]),
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], tuple[str, str]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(kind: str) -> tuple[str, str]:
        program, command = SERVERS[kind]
        (tmp_path / "app.py").write_text(program)
        port, admin = free_port(), free_port()
        if "run" in command:
            command = [*command, "--port", str(port)]
        path = ":".join([str(tmp_path), str(SOURCE), *filter(None, sys.path)])
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": path,
            "PORT": str(port),
            "CHAOSPOINT_ENABLED": "true",
            "CHAOSPOINT_ADMIN": f"127.0.0.1:{admin}",
        }
        log = (tmp_path / "log").open("wb")
        with log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *command],
                    cwd=tmp_path,
                    env=environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        return f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{admin}"

    yield start
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(url: str, method: str = "GET", body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read().decode()
    except (OSError, urllib.error.HTTPError):
        return ""


def until(done: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := done():
            return found
        time.sleep(0.05)
    raise AssertionError(f"it never came to this: {what}")


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind == "Flask, app.run" else pytest.param(kind, marks=pytest.mark.ci)
        for kind in SERVERS
    ],
)
def test_what_is_armed_over_http_acts_in_the_process_that_serves(
    kind: str, start: Callable[[str], tuple[str, str]], tmp_path: Path
) -> None:
    home, admin = start(kind)

    def served() -> str:
        pid, _, said = ask(home).partition(" ")
        status = ask(f"{admin}/v1/status")
        return said if pid and status and json.loads(status)["pid"] == int(pid) else ""

    assert until(served, f"one process serves both: {(tmp_path / 'log').read_text()}") == "real"
    done = json.loads(ask(f"{admin}/v1/points/shop.price", "PUT", {"exception": "TimeoutError"}))
    assert (done["workers"], done["acknowledged"]) == (1, 1)
    assert served() == "timed out"

    program = tmp_path / "app.py"  # the child is replaced, and the new one has the port
    before = ask(home).partition(" ")[0]
    program.write_text(f"{program.read_text()}\n# edited\n")
    until(lambda: ask(home).partition(" ")[0] not in ("", before), "reloaded")
    assert until(served, "the new process serves both") == "real"
