"""Record the actual and the expected outcome of each inner test; check that each starts clean."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import chaospoint
from chaospoint._registry.registry import default_registry


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "expected(outcome, *words): the outcome of this test, and words of its report"
    )
    config.addinivalue_line("markers", "unclean: rules may be armed when this test starts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("expected")
        item.user_properties.append(("expected", mark.args if mark else ("passed",)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("unclean") is None:
        registry = chaospoint.Registry.default()
        assert default_registry() is registry
        assert not registry.rules(), "the previous test left rules armed"
        assert registry.enabled, "the previous test left chaospoint disabled"
        assert not registry.engine.watches, "the previous test left a watch running"


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
