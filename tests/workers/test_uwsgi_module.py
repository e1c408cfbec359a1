"""The use of the module that uWSGI adds to a program."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from chaospoint import config
from chaospoint._registry.registry import Registry
from chaospoint.sources.settings import Settings
from chaospoint.workers import uwsgi as uwsgi_workers


@pytest.fixture
def uwsgi(monkeypatch: pytest.MonkeyPatch) -> Any:
    made: Any = ModuleType("uwsgi")
    made.masterpid, made.worker_id = os.getpid, lambda: 0
    monkeypatch.setitem(sys.modules, "uwsgi", made)
    monkeypatch.setitem(sys.modules, "uwsgidecorators", None)
    return made


def test_without_uwsgi_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "uwsgi", raising=False)
    assert not uwsgi_workers.in_master()
    assert not uwsgi_workers.has_no_threads()
    uwsgi_workers.call_in_workers(lambda: None)


def test_a_module_of_that_name_that_is_not_uwsgi_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stranger = ModuleType("uwsgi")
    monkeypatch.setitem(sys.modules, "uwsgi", stranger)
    uwsgi_workers.call_in_workers(lambda: None)
    assert not uwsgi_workers.in_master()
    assert not hasattr(stranger, "post_fork_hook")


def test_the_hook_of_the_program_is_called_after_ours(uwsgi: Any) -> None:
    called: list[str] = []
    uwsgi.post_fork_hook = lambda: called.append("theirs")
    uwsgi_workers.call_in_workers(lambda: called.append("ours"))
    uwsgi.post_fork_hook()
    assert called == ["ours", "theirs"]


def test_the_decorators_of_uwsgi_keep_ours(uwsgi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decorators: Any = ModuleType("uwsgidecorators")
    chain: list[Callable[[], object]] = []
    decorators.postfork_chain = chain
    monkeypatch.setitem(sys.modules, "uwsgidecorators", decorators)

    def ours() -> None:
        pass

    uwsgi_workers.call_in_workers(ours)
    assert chain == [ours]


def test_without_threads_it_is_said(uwsgi: Any, caplog: pytest.LogCaptureFixture) -> None:
    uwsgi.has_threads = 0
    uwsgi.worker_id = lambda: 1
    config.start(Settings(enabled=True, environment="ci"), registry=Registry())
    config.stop()
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(said) == 1
    assert "--enable-threads" in said[0]
