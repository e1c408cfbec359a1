"""What others see of the reports of an explored test: the cache, the summary and JUnit's XML.

All of its reports have the name of the one test. So a run that was handled must not count as the
test that passed, and what was not handled has to say its case.
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
"""The phase of a report that passed, and clears no failure of the test that pytest remembers."""


def as_test(report: pytest.TestReport) -> None:
    """Have a report name its test, and not the share of it that no other run has."""
    report.nodeid = plain(report.nodeid)
    path, line, domain = report.location
    report.location = (path, line, plain(domain))


def silence(config: pytest.Config, report: pytest.TestReport) -> None:
    """Have a test that passed clear no failure; JUnit's XML counts it still."""
    report.when = QUIET
    if (xml := config.stash.get(xml_key, None)) is not None:
        xml._opentestcase(report).append_pass(report)


def as_case(report: pytest.TestReport, result: Result) -> None:
    """Have the report of a case name its test and itself."""
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
    """Write a testcase of its own for a report, its name with `` [name]`` at its end.

    ``silent``: why it says nothing, so that it is written as skipped.
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
            xml.open_reports.remove(report)  # no teardown of it is to come
