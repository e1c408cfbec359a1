"""Writes down how each inner test came out, and how it was meant to; no test begins unclean."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import chaospoint
from chaospoint._registry.registry import default_registry


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "expected(outcome, *words): how this test is to come out")
    config.addinivalue_line("markers", "unclean: something may be armed when this test begins")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("expected")
        item.user_properties.append(("expected", mark.args if mark else ("passed",)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("unclean") is None:
        registry = chaospoint.Registry.default()
        assert default_registry() is registry
        assert not registry.rules(), "the test before left this armed"
        assert registry.enabled, "the test before left chaospoint disabled"
        assert not registry.engine.watches, "the test before is still watching"


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: Any) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    line = {
        "test": report.nodeid,
        "when": report.when,
        "outcome": "xfailed" if hasattr(report, "wasxfail") else report.outcome,
        "text": report.longreprtext,
        "told": "\n".join(text for title, text in report.sections if title == "chaospoint"),
        "expected": dict(report.user_properties).get("expected", ["passed"]),
    }
    with Path("reports.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
