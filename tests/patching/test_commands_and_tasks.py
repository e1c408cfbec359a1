"""Celery tasks, click commands and pytest's own functions take a point below their decorators."""

from __future__ import annotations

import functools
import inspect
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from click.testing import CliRunner
from helpers import PATIENCE, SOURCE, Boom
from patching_kit import STATES, labelled, state

import chaospoint
from chaospoint import Point, Registry

every_state = pytest.mark.parametrize("name", STATES)


# -- Celery ------------------------------------------------------------------------------


def celery_of(point: Point) -> Celery:
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={"polling_interval": 0.01},
        worker_hijack_root_logger=False,
    )

    @app.task(name="add", shared=False)
    @point
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    @app.task(name="retried", shared=False, bind=True, max_retries=2)
    @point
    def retried(self: Any, a: int) -> list[int]:
        try:
            if self.request.retries < 1:
                raise Boom
        except Boom as error:
            raise self.retry(exc=error, countdown=0) from error
        return [a, self.request.retries]

    return app


@pytest.fixture(scope="module")
def working() -> Iterator[tuple[Registry, Celery]]:
    """A real worker in a thread, and the registry of its tasks."""
    registry = Registry()
    app = celery_of(labelled(registry))
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    with start_worker(app, perform_ping_check=False, shutdown_timeout=PATIENCE, pool="solo"):
        yield registry, app
    root.handlers[:] = handlers
    root.setLevel(level)
    registry.disarm()
    registry.engine.housekeeper.stop()


@every_state
def test_a_task_runs_at_once(registry: Registry, name: str) -> None:
    app = celery_of(labelled(registry))
    app.conf.task_always_eager = True
    add, retried = app.tasks["add"], app.tasks["retried"]
    with state(registry, name) as armed:
        assert add.delay(1).get() == 3
        assert add.apply_async((1,), {"b": 5}).get() == 6
        assert add(1) == 3
        assert retried.delay(4).get() == [4, 1]
        assert (add.__doc__, inspect.signature(add.run).parameters["b"].default) == ("Add.", 2)
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
            add.delay()
        assert {handle.reaches for handle in armed} <= ({4} if "after" in name else {5})


@pytest.mark.parametrize("name", ["never armed", "armed", "acts", "acts after", "disarmed"])
def test_a_worker_runs_a_task(working: tuple[Registry, Celery], name: str) -> None:
    registry, app = working
    with state(registry, name) as armed:
        assert app.tasks["add"].delay(1).get(PATIENCE, interval=0.01) == 3
        assert app.tasks["retried"].delay(4).get(PATIENCE, interval=0.01) == [4, 1]
        assert all(handle.reaches in (2, 3) for handle in armed)


def test_a_task_fails_in_the_worker_as_its_point_says(working: tuple[Registry, Celery]) -> None:
    registry, app = working
    with chaospoint.armed("p", registry=registry, exception=OSError("told to"), times=1):
        with pytest.raises(OSError, match="told to"):
            app.tasks["add"].delay(1).get(PATIENCE, interval=0.01)
        assert app.tasks["add"].delay(1).get(PATIENCE, interval=0.01) == 3


# -- click -------------------------------------------------------------------------------


def commands_of(point: Point) -> click.Group:
    @click.group()
    @click.option("--loud/--quiet", default=False)
    @click.pass_context
    @point
    def shop(context: click.Context, loud: bool) -> None:
        """Sell things."""
        context.obj = loud

    @point
    def positive(context: click.Context, option: click.Parameter, value: int) -> int:
        if value < 1:
            raise click.BadParameter("not positive")
        return value

    @shop.command()
    @click.argument("order")
    @click.option("--amount", default=1, callback=positive, help="How many.")
    @click.pass_obj
    @point
    def charge(loud: bool, order: str, amount: int) -> None:
        """Charge an ORDER."""
        click.echo(f"{order} {amount}{'!' if loud else ''}")

    @shop.result_callback()
    @point
    def done(result: object, loud: bool) -> None:
        click.echo("done")

    return shop


def invoke(shop: click.Group) -> list[tuple[int, str]]:
    runner = CliRunner()
    return [
        (done.exit_code, done.output)
        for done in (
            runner.invoke(shop, words.split())
            for words in ("--loud charge a --amount 3", "charge a --amount 0", "charge --help", "")
        )
    ]


@every_state
def test_commands_options_and_callbacks(registry: Registry, name: str) -> None:
    shop = commands_of(labelled(registry))
    before = invoke(shop)
    assert before[0] == (0, "a 3!\ndone\n")
    with state(registry, name) as armed:
        assert invoke(shop) == before
        assert all(handle.reaches > 3 for handle in armed)
        assert invoke(commands_of(labelled(registry))) == before


def test_a_command_fails_as_its_point_says(registry: Registry) -> None:
    shop = commands_of(registry.point("p"))
    wrong = click.ClickException("told to")
    with chaospoint.armed("p", registry=registry, exception=functools.partial(lambda: wrong)):
        done = CliRunner().invoke(shop, ["charge", "a"])
    assert (done.exit_code, done.output) == (1, "Error: told to\n")


# -- pytest ------------------------------------------------------------------------------

SUITE = """
import chaospoint, pytest

POINT = chaospoint.point("p")
if {armed}:
    chaospoint.arm("p", latency=0{keys})

@pytest.fixture(params=[1, 2])
@POINT
def number(request):
    return request.param

@pytest.fixture
@POINT
def opened(number):
    yield number * 10
    print("closed", number)

@pytest.fixture(autouse=True)
@POINT
def quiet(monkeypatch):
    yield

@pytest.mark.parametrize("other", [5, 6])
@POINT
def test_numbers(number, opened, other, tmp_path):
    assert (number * 10, tmp_path.exists()) == (opened, True)

class TestMethods:
    @POINT
    def test_method(self, opened):
        assert opened in (10, 20)

    @pytest.mark.xfail(raises=AssertionError, strict=True)
    @POINT
    def test_wrong(self, opened):
        assert opened == 30

@POINT
def test_shown(opened):
    there = opened
    assert there == 30

def teardown_module():
    chaospoint.disarm()
"""


@pytest.mark.parametrize("keys", [None, ", skip=10**9", "", ", when='after'"])
def test_fixtures_and_tests_are_decorated(tmp_path: Path, keys: str | None) -> None:
    """With locals shown, of trampolines too, and assertions told as ever."""
    suite = tmp_path / "test_suite.py"
    suite.write_text(SUITE.format(armed=keys is not None, keys=keys or ""))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--showlocals", "-p", "no:cacheprovider", suite],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(SOURCE),
            "PATH": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2 failed, 6 passed, 2 xfailed" in done.stdout, done.stdout + done.stderr
    assert "assert 10 == 30" in done.stdout
    assert "there      = 10" in done.stdout
    assert done.returncode == 1
