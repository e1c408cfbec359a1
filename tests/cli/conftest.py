"""A command line to call, and what it talks to: a service on a real socket, a real store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Cli, Spy
from typer.testing import CliRunner

from chaospoint._registry.registry import Registry
from chaospoint.cli.app import app
from chaospoint.control.server.admin import AdminServer
from chaospoint.sources.settings import Settings
from chaospoint.stores import open_store
from chaospoint.stores.store import Store, Worker

SEPARATE = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
RUNNER = CliRunner(**SEPARATE)  # click before 8.2 puts both outputs into one unless told otherwise


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CHAOSPOINT_")]:
        monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "GITHUB_ACTIONS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):  # which nothing may use
        monkeypatch.setenv(name, "http://127.0.0.1:1")


@pytest.fixture
def cli() -> Cli:
    """Call the command line in this process."""

    def call(*arguments: str, **environment: str) -> Any:
        done = RUNNER.invoke(app, arguments, env=environment, prog_name="chaospoint")
        assert "Traceback" not in done.output
        return done

    return call


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    yield made
    made.disarm()


@pytest.fixture
def charge(registry: Registry) -> Callable[[], str]:
    """A function at ``payment.charge``; there are a block, ``db.query``, and ``db.commit``, too."""
    registry.point("db.query", description="every [bold]query[/bold]")
    registry.point("db.commit")

    @registry.point("payment.charge")
    def charge() -> str:
        return "charged"

    return charge


@pytest.fixture
def serve(
    registry: Registry, charge: Callable[[], str]
) -> Iterator[Callable[..., tuple[str, Spy]]]:
    """Serve the registry, and say where."""
    servers = []

    def serve(**settings: Any) -> tuple[str, Spy]:
        spy = Spy.of(Settings(enabled=True, **settings), registry)
        assert isinstance(spy, Spy)
        server = AdminServer(spy, "127.0.0.1", 0, token=False)
        servers.append(server)
        assert server.open()
        assert server.url is not None
        return server.url, spy

    yield serve
    for server in servers:
        server.close()


@pytest.fixture
def served(serve: Callable[..., tuple[str, Spy]]) -> tuple[str, Spy]:
    return serve()


@pytest.fixture
def url(served: tuple[str, Spy]) -> str:
    """Where the service is."""
    return served[0]


@pytest.fixture
def spy(served: tuple[str, Spy]) -> Spy:
    return served[1]


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens: the port of a service that hardly anybody has."""
    return "http://127.0.0.1:1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in which nothing was written, and that nobody follows."""
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    return open_store(directory.as_uri())


@pytest.fixture
def follow(store: Store) -> Iterator[Callable[..., Worker]]:
    """Have this process follow the store: as if it ran at once whatever is written."""
    workers: list[Worker] = []

    def follow(*points: str, refusal: str = "") -> Worker:
        if not workers:  # what is written first begins where the workers are, and has to be below
            store.update(lambda desired: desired.enable(by="", now=0.0))
        worker = Worker(
            id=f"worker{len(workers)}",
            pid=os.getpid(),
            generation=1000,
            refusal=refusal,
            points=points,
            version="1.2.3",
        )
        workers.append(worker)
        store.report(worker)
        return worker

    yield follow
    for worker in workers:
        store.leave(worker.id)
