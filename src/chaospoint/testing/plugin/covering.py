"""Fault coverage under pytest.

It counts from before the collection to the end of the last fixture. Under pytest-xdist the workers
count and the controller adds the counts. If a worker does not report, the summary names it, and
`--chaos-cov-fail-under` fails.
"""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from chaospoint.testing.plugin.typed import json_path, took_a_path

if TYPE_CHECKING:
    from pathlib import Path

    from chaospoint.testing.coverage import FaultCoverage

__all__ = ["add_options", "configure"]

_KEY = "chaospoint_fault_coverage"


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add the options."""
    del parser
    group.addoption(
        "--chaos-cov",
        nargs="?",
        const="*",
        default=None,
        metavar="GLOB",
        help="show which points (matching GLOB) were reached, and which kinds of faults fired "
        "there, including those of --chaos-explore; write GLOB after '='",
    )
    group.addoption(
        "--chaos-cov-json",
        default=None,
        metavar="PATH",
        help="also write the fault coverage to this file as JSON (implies --chaos-cov)",
    )
    group.addoption(
        "--chaos-cov-fail-under",
        type=_percentage,
        default=None,
        metavar="PERCENT",
        help="fail if faults fired at less than PERCENT of the points (implies --chaos-cov)",
    )


def _percentage(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 100.0:  # also false for NaN
        raise ArgumentTypeError(f"{text!r} is not a percentage: write a number from 0 to 100")
    return share


def configure(config: pytest.Config) -> None:
    """Activate fault coverage if the options ask for it."""
    option = config.option
    asked = (option.chaos_cov, option.chaos_cov_json, option.chaos_cov_fail_under)
    if asked == (None, None, None) or option.collectonly:
        return
    glob = "*" if option.chaos_cov is None else option.chaos_cov
    worker = hasattr(config, "workerinput")
    path = None
    if not worker:
        _check(config, glob)
        path = json_path(config, "--chaos-cov-json", option.chaos_cov_json)
    from chaospoint.testing.coverage import FaultCoverage

    coverage = FaultCoverage(glob)
    if worker or getattr(option, "dist", "no") == "no":  # a controller with workers runs no tests
        config.pluginmanager.register(_Counting(config, coverage), "chaospoint-counting")
    if not worker:
        config.pluginmanager.register(_Covering(config, coverage, path), "chaospoint-covering")


def _check(config: pytest.Config, glob: str) -> None:
    """Raise `pytest.UsageError` for an invalid glob, a path of tests, or if rich is missing."""
    from chaospoint.models.point_pattern import point_pattern
    from chaospoint.models.refusal import Refusal

    if took_a_path(config, "--chaos-cov", glob):
        raise pytest.UsageError(
            f"--chaos-cov took {glob!r} as a glob of points, but it is a path: write "
            f"--chaos-cov='*' {glob}, or put the option after the paths"
        )
    try:
        point_pattern(glob)
    except Refusal as refusal:
        raise pytest.UsageError(f"--chaos-cov={glob}: {refusal}; {refusal.cure}") from None
    try:
        import_module("rich.table")
    except ModuleNotFoundError:
        raise pytest.UsageError(
            "--chaos-cov needs rich, which is not installed: pip install 'chaospoint[testing]'"
        ) from None


class _Counting:
    """Counts in each process that runs tests; a worker sends its counts to the controller."""

    def __init__(self, config: pytest.Config, coverage: FaultCoverage) -> None:
        self._config = config
        self._coverage = coverage
        coverage.start()

    # After the teardown of the last fixtures, and before xdist sends the output of the worker.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        if (output := getattr(self._config, "workeroutput", None)) is not None:
            output[_KEY] = self._coverage.as_data()

    def pytest_unconfigure(self) -> None:
        self._coverage.stop()  # if no session was started


class _Covering:
    """Reports the coverage at the end of the run, in the process that the user started."""

    def __init__(self, config: pytest.Config, coverage: FaultCoverage, path: Path | None) -> None:
        self._config = config
        self._coverage = coverage
        self._path = path  # of the JSON
        self._expected: set[str] = set()
        self._reported: set[str] = set()
        self._problems: list[str] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Expect a worker of pytest-xdist to report."""
        self._expected.add(node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add the counts of a worker; one that crashed sends none."""
        data = getattr(node, "workeroutput", {}).get(_KEY)
        if data is not None and node.gateway.id not in self._reported:
            self._reported.add(node.gateway.id)
            self._coverage.merge(data)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail the run if the coverage is too low, and write the JSON."""
        self._coverage.stop()
        self._problems += self._short()
        self._problems += self._write()
        if self._problems and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        """Show the table."""
        show = terminalreporter
        show.write_sep("=", "fault coverage")
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            show.write_line("the run was interrupted, so these counts are incomplete", yellow=True)
        if missing := self._missing():
            warning = f"{', '.join(missing)} did not report, so its tests are not counted"
            show.write_line(warning, yellow=True)
        for line in str(self._coverage).splitlines():
            show.write_line(line)
        for problem in self._problems:
            show.write_line(f"ERROR: {problem}", red=True, bold=True)

    def _missing(self) -> list[str]:
        return sorted(self._expected - self._reported)

    def _short(self) -> list[str]:
        """Return why the coverage is below --chaos-cov-fail-under, if it is."""
        if (least := self._config.option.chaos_cov_fail_under) is None:
            return []
        short = []
        if missing := self._missing():
            workers = ", ".join(missing)
            short.append(
                f"--chaos-cov-fail-under={least:g} cannot be decided: {workers} did not report"
            )
        points = self._coverage.as_data()["points"].values()
        if not points:
            short.append(f"--chaos-cov-fail-under={least:g}: there are no points to cover")
        elif self._coverage.percent < least:
            fired = sum(1 for point in points if point["fired"])
            share = f"a fault fired at {fired} of {len(points)} points"
            short.append(f"{share}, which is less than {least:g}%")
        return short

    def _write(self) -> list[str]:
        """Write the JSON; return why it cannot be written, if so."""
        if self._path is None:
            return []
        data = self._coverage.as_data()
        if missing := self._missing():
            data["missing"] = missing
        try:
            self._path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            return [f"--chaos-cov-json={self._path} cannot be written: {error}"]
        return []
