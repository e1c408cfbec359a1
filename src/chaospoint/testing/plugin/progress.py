"""A progress bar for explorations on a terminal; elsewhere pytest prints its letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:
    import pytest

    from chaospoint.testing.exploring.result import Result

__all__ = ["Bar"]


class Bar:
    """Redraws on each report and not from a thread, because pytest captures output in between."""

    def __init__(self, console: Console) -> None:
        self._findings = 0
        self._total = 0
        self._progress = Progress(
            TextColumn("exploring"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[findings]}", style="bold red", markup=False),
            TextColumn("{task.description}", style="dim", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=0, findings="")
        self._progress.start()

    @classmethod
    def on(cls, config: pytest.Config) -> Self | None:
        """Return a bar, or None if the output is not a terminal, or ``-v`` or ``-q`` is set."""
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or not reporter.isatty or config.get_verbosity() != 0:
            return None
        reporter.showfspath = False  # no names of files before the letters
        if hasattr(reporter, "_show_progress_info"):
            reporter._show_progress_info = False  # no percentages
        reporter.ensure_newline()
        return cls(Console(file=reporter._tw._file, force_terminal=True))

    def runs(self, test: str) -> None:
        """Show which test runs."""
        self._progress.update(self._task, description=test)
        self._progress.refresh()

    def recorded(self, test: str, cases: int) -> None:
        """Add the number of cases of a test."""
        self._total += cases
        self._progress.update(self._task, total=self._total, description=test)
        self._progress.refresh()

    def tried(self, test: str, result: Result) -> None:
        """Count a case that was run, and print it if it is a finding."""
        if result.finding:
            self._findings += 1
            self.print(f"{test} {result}")
        findings = f"{self._findings} not handled" if self._findings else ""
        self._progress.update(self._task, advance=1, description=test, findings=findings)
        self._progress.refresh()

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(Text(text, style="red"))

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()
