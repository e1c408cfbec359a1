"""Processes forked in C, without Python's hooks, like the workers of uWSGI."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, SOURCE, python

from chaospoint.stores import open_store

UWSGI = shutil.which("pyuwsgi", path=str(Path(sys.executable).parent)) or shutil.which("uwsgi")
APP = """
import os
import chaospoint

@chaospoint.point("shop.price")
def price():
    return "real"

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        return [f"{os.getpid()} {price()}".encode()]
    except TimeoutError:
        return [f"{os.getpid()} timed out".encode()]
"""
RULE = "rules:\n  - {point: shop.price, exception: TimeoutError}\n"


def until(done: Callable[[], Any], what: str) -> Any:
    """Wait until ``done`` returns a true value, and return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := done():
            return found
        time.sleep(0.02)
    raise AssertionError(f"it never came to this: {what}")


class Site:
    """A uWSGI server with its plan file and its store."""

    def __init__(self, folder: Path, *options: str) -> None:
        assert UWSGI is not None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.plan, self.store = folder / "plan.yaml", folder / "store"
        (folder / "app.py").write_text(APP)
        self.store.mkdir(mode=0o700)
        self.plan.write_text(RULE)
        path = ":".join([str(SOURCE), *filter(None, sys.path)])
        self.process = subprocess.Popen(
            [UWSGI, "--http-socket", self.address, "--wsgi-file", "app.py", *options],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": path,
                "CHAOSPOINT_ENABLED": "true",
                "CHAOSPOINT_ADMIN": "127.0.0.1:0",
                "CHAOSPOINT_CONFIG": str(self.plan),
                "CHAOSPOINT_STORE": self.store.as_uri(),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def said(self) -> tuple[int, str]:
        """Return the worker that answers, and its answer."""
        with urllib.request.urlopen(f"http://{self.address}/", timeout=PATIENCE) as answer:
            pid, _, word = answer.read().decode().partition(" ")
        return int(pid), word

    def answers(self) -> bool:
        try:
            return bool(self.said())
        except OSError:
            return False

    def workers(self) -> list[int]:
        return [one.pid for one in open_store(self.store.as_uri()).workers()]

    def all_say(self, word: str) -> bool:
        """Whether the server gives this answer many times in a row."""
        return all(self.said()[1] == word for _ in range(20))

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    if UWSGI is None:
        pytest.skip("uWSGI is not installed: pip install pyuwsgi")
    sites: list[Site] = []

    def serve(*options: str) -> Site:
        sites.append(Site(tmp_path, *options))
        until(sites[-1].answers, "the server answers")
        return sites[-1]

    yield serve
    for site in sites:
        site.end()


@pytest.mark.once
@pytest.mark.parametrize(
    "options",
    [
        ("--master", "--processes", "2", "--enable-threads"),
        pytest.param(
            ("--master", "--processes", "2", "--enable-threads", "--lazy-apps"),
            marks=pytest.mark.ci,
        ),
    ],
    ids=["pre-fork", "lazy apps"],
)
def test_uwsgi_workers_follow_the_file_and_the_store_and_let_rules_expire(
    options: tuple[str, ...], serve: Callable[..., Site]
) -> None:
    site = serve(*options)
    workers = until(lambda: len(site.workers()) == 2 and site.workers(), "two workers")
    until(lambda: site.all_say("timed out"), "the file is in force")

    site.plan.write_text("rules: []\n")
    until(lambda: site.all_say("real"), "the edited file is in force")
    site.plan.write_text(RULE.replace("TimeoutError", "TimeoutError, expires_after: 2s"))
    until(lambda: site.said()[1] == "timed out", "armed again")
    until(lambda: site.all_say("real"), "it has expired")

    site.plan.write_text(RULE.replace("TimeoutError", "TimeoutError, expires_after: 1h"))
    until(lambda: site.all_say("timed out"), "armed again")
    command = [sys.executable, "-m", "chaospoint", "disable", "--store", site.store.as_uri()]
    environment = {**os.environ, "PYTHONPATH": ":".join([str(SOURCE), *filter(None, sys.path)])}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("disabled, in force in 2 of 2 workers"), done.stdout + done.stderr
    assert site.all_say("real")
    assert sorted(site.workers()) == sorted(workers)
    assert {site.said()[0] for _ in range(20)} <= {*workers}

    os.kill(workers[0], signal.SIGKILL)
    until(lambda: len({*site.workers()} - {*workers}) == 1, "the master has forked another")
    assert site.all_say("real"), "what starts later is disabled, too"


@pytest.mark.parametrize("mark", ["page", "number"])
def test_a_child_forked_in_c_begins_anew_where_a_rule_fires(tmp_path: Path, mark: str) -> None:
    """Without notice of the fork, the child still gets its own threads, counts and worker."""
    plan, store = tmp_path / "plan.yaml", tmp_path / "store"
    store.mkdir(mode=0o700)
    plan.write_text("rules:\n  - {point: a.b, returns: 2, expires_after: 1h}\n")
    python(
        """
        import ctypes, os, sys, time, traceback
        from pathlib import Path
        import chaospoint
        from chaospoint.sources.settings import Settings
        from chaospoint.stores import open_store
        from chaospoint._kernel import process

        if MARK == "number":
            process.known = process._Number()
        plan, store = sys.argv[1:]
        call = chaospoint.point("a.b")(lambda: 1)
        chaospoint.start(Settings(enabled=True, config=Path(plan), store=store))
        assert call() == 2
        armed = chaospoint.arm("c.d", returns=2, skip=1)

        def until(done):
            end = time.monotonic() + 10
            while not done():
                assert time.monotonic() < end
                time.sleep(0.01)

        other = chaospoint.point("c.d")(lambda: 1)
        assert [other(), other()] == [1, 2]
        pid = ctypes.PyDLL(None).fork()  # keeps the interpreter, and calls no hook
        if pid == 0:
            code = 1
            try:
                assert call() == 2, "the call that notices it fires"
                rules = {rule.pattern: rule for rule in chaospoint.Registry.default().rules()}
                assert rules["a.b"].reaches == rules["a.b"].injections == 1, "counts begin anew"
                assert [other(), other()] == [1, 2]
                until(lambda: os.getpid() in [one.pid for one in open_store(store).workers()])
                Path(plan).write_text("rules: []\\n")
                until(lambda: call() == 1)
                short = chaospoint.arm("a.b", returns=3)
                assert call() == 3
                open_store(store).update(lambda one: one.disable(by="test", now=time.time()))
                until(lambda: call() == 1)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        until(lambda: call() == 1)
        """.replace("sys.argv[1:]", repr([str(plan), store.as_uri()])).replace("MARK", repr(mark)),
        "-W",
        "ignore::DeprecationWarning",
    )
