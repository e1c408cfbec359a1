"""Adapt the reports of an explored test for pytest's cache, its summary and JUnit XML.

All reports of an explored test have the name of that test. So a handled case must not count as the
test itself passing, and a finding must name its case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from _pytest.junitxml import xml_key

from chaospoint.testing.plugin.shares import plain

if TYPE_CHECKING:
    import pytest

    from chaospoint.testing.exploring.result import Result

__all__ = ["QUIET", "as_case", "as_test", "junit", "silence"]

QUIET: Any = "explored"
"""The ``when`` of a passed report that must not clear a failure of the test in pytest's cache."""


def as_test(report: pytest.TestReport) -> None:
    """Let a report name its test and not the share, which exists only in this run."""
    report.nodeid = plain(report.nodeid)
    path, line, domain = report.location
    report.location = (path, line, plain(domain))


def silence(config: pytest.Config, report: pytest.TestReport) -> None:
    """Keep a passed test from clearing a failure; JUnit XML still counts it as passed."""
    report.when = QUIET
    if (xml := config.stash.get(xml_key, None)) is not None:
        xml._opentestcase(report).append_pass(report)


def as_case(report: pytest.TestReport, result: Result) -> None:
    """Let the report of a case name its test and the case."""
    report.nodeid = plain(report.nodeid)
    path, line, domain = report.location
    ending = f" [{result.case}]"
    report.location = (path, line, plain(domain.removesuffix(ending)) + ending)
    if not result.finding:
        report.when = QUIET
    elif isinstance(report.longrepr, str):
        if not report.longrepr.startswith(f"{result.case}: "):
            report.longrepr = f"{result.case}: {report.longrepr}"
    elif (crash := getattr(report.longrepr, "reprcrash", None)) is not None:
        crash.message = f"{result.case}: {crash.message}"


@contextmanager
def junit(
    config: pytest.Config, report: pytest.TestReport, name: str, silent: str
) -> Iterator[None]:
    """Write a separate JUnit testcase for a report, with `` [name]`` at the end of its name.

    ``silent``: the reason why the case was left out, which makes it a skipped testcase; or ``""``.
    """
    xml = config.stash.get(xml_key, None)
    if xml is None:
        yield
        return
    writer = xml._opentestcase(report)
    writer.add_attribute("name", f"{writer.attrs['name']} [{name}]")
    if silent:
        path, line, _ = report.location
        report.longrepr = (path, line or 0, f"left out: {silent}")
        writer.append_skipped(report)
        report.longrepr = None
    elif report.passed:
        writer.append_pass(report)
    try:
        yield
    finally:
        xml.finalize(report)
        if report in xml.open_reports:
            xml.open_reports.remove(report)  # because no teardown report follows
