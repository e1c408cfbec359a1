"""Fault coverage under pytest.

It counts from before the collection to the end of the last fixture. Under pytest-xdist the workers
count and the controller adds up; a worker that did not report is named, and no share is passed
off as that of the whole suite.
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
        help="show which points were reached, and which kinds of faults fired there, those of "
        "--chaos-explore too; GLOB: of these points only; write GLOB after '='",
    )
    group.addoption(
        "--chaos-cov-json",
        default=None,
        metavar="PATH",
        help="write the fault coverage as JSON, too (implies --chaos-cov)",
    )
    group.addoption(
        "--chaos-cov-fail-under",
        type=_percentage,
        default=None,
        metavar="PERCENT",
        help="fail if faults fired at less than this share of the points (implies --chaos-cov)",
    )


def _percentage(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 100.0:  # NaN, too
        raise ArgumentTypeError(f"{text!r} is no percentage: write a number from 0 to 100")
    return share


def configure(config: pytest.Config) -> None:
    """Take part in this run, if its options ask for it."""
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
    if worker or getattr(option, "dist", "no") == "no":  # the controller of workers runs no test
        config.pluginmanager.register(_Counting(config, coverage), "chaospoint-counting")
    if not worker:
        config.pluginmanager.register(_Covering(config, coverage, path), "chaospoint-covering")


def _check(config: pytest.Config, glob: str) -> None:
    """Refuse what cannot be shown, also the path of tests that the option swallowed."""
    from chaospoint.models.point_pattern import point_pattern
    from chaospoint.models.refusal import Refusal

    if took_a_path(config, "--chaos-cov", glob):
        raise pytest.UsageError(
            f"--chaos-cov took {glob!r} for a glob of points, and that is a path: write "
            f"--chaos-cov='*' {glob}, or put the option behind the paths"
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
    """Counts in the process in which tests run; a worker hands its counts to the controller."""

    def __init__(self, config: pytest.Config, coverage: FaultCoverage) -> None:
        self._config = config
        self._coverage = coverage
        coverage.start()

    # Behind what ends the last fixtures, and before xdist sends what the worker has to say.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        if (output := getattr(self._config, "workeroutput", None)) is not None:
            output[_KEY] = self._coverage.as_data()

    def pytest_unconfigure(self) -> None:
        self._coverage.stop()  # where no session was begun


class _Covering:
    """Tells of the coverage at the end of the run, in the process that the user started."""

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
        """Add what a worker counted; one that crashed has told of nothing."""
        data = getattr(node, "workeroutput", {}).get(_KEY)
        if data is not None and node.gateway.id not in self._reported:
            self._reported.add(node.gateway.id)
            self._coverage.merge(data)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decide whether the run is good enough, and write the JSON."""
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
            show.write_line("the run was interrupted: these are the counts so far", yellow=True)
        if missing := self._missing():
            told = f"nothing came from {', '.join(missing)}: what ran there is not counted"
            show.write_line(told, yellow=True)
        for line in str(self._coverage).splitlines():
            show.write_line(line)
        for problem in self._problems:
            show.write_line(f"ERROR: {problem}", red=True, bold=True)

    def _missing(self) -> list[str]:
        return sorted(self._expected - self._reported)

    def _short(self) -> list[str]:
        """Say why the coverage is not what the run asks for."""
        if (least := self._config.option.chaos_cov_fail_under) is None:
            return []
        short = []
        if missing := self._missing():
            told = f"nothing came from {', '.join(missing)}"
            short.append(f"--chaos-cov-fail-under={least:g} cannot be decided: {told}")
        points = self._coverage.as_data()["points"].values()
        if not points:
            short.append(f"--chaos-cov-fail-under={least:g}: there is no point to be covered")
        elif self._coverage.percent < least:
            fired = sum(1 for one in points if one["fired"])
            told = f"a fault fired at {fired} of {len(points)} points"
            short.append(f"{told}, which is under {least:g}%")
        return short

    def _write(self) -> list[str]:
        """Write the JSON; say why it cannot be written."""
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
