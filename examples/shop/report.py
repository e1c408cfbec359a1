"""What the demo shows: progress while it runs, a table and a verdict at the end."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from evidence import Count
from load import Load
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    phase: str
    load: Load
    count: Count


class Report:
    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    @contextmanager
    def phase(self, name: str, orders: int) -> Iterator[Callable[[], None]]:
        """Show that a phase runs; call what it gives once for each order answered."""
        if not self._console.is_terminal:
            self._console.print(f"  {name} …")
            yield lambda: None
            return
        columns = TextColumn("  {task.description:<24}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(name, total=orders)
            yield lambda: progress.advance(task)

    def table(self, rows: Sequence[Row]) -> None:
        table = Table(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=0,  # 80 columns are enough
            caption="times in ms; injections as counted by metrics, spans and the services' lines",
            caption_justify="left",
        )
        table.add_column("phase", no_wrap=True)
        for column in ("orders/s", "paid %", "p50", "p95", "p99", "metrics", "spans", "lines", " "):
            table.add_column(column, justify="right", no_wrap=True)
        for row in rows:
            load, count = row.load, row.count
            table.add_row(
                row.phase,
                f"{load.per_second:.1f}",
                f"{100 * load.success:.1f}",
                *(f"{1000 * seconds:.1f}" for seconds in (load.p50, load.p95, load.p99)),
                *(str(c.total()) for c in (count.metrics, count.spans, count.lines)),
                "[green]=[/]" if count.agrees else "[red]≠[/]",
            )
        self._console.print(table)

    def verdict(self, rows: Sequence[Row]) -> bool:
        """Say whether the records agree and the shop recovered; True if both."""
        contradictions = [f"{row.phase}: {c}" for row in rows for c in row.count.contradictions]
        for contradiction in contradictions[:20]:
            self._console.print(f"[red]✗[/] {contradiction}")
        if not contradictions:
            all_of_them: Counter[str] = sum((row.count.lines for row in rows), Counter())
            found = ", ".join(f"{count} {key}" for key, count in sorted(all_of_them.items()))
            self._console.print(
                "[green]✓[/] metrics, spans and the services' own lines agree exactly, "
                f"in every phase: {found}"
            )
        before, after = rows[0].load.p50, rows[-1].load.p50
        recovered = same_median(before, after)
        self._console.print(
            f"{'[green]✓[/]' if recovered else '[red]✗[/]'} p50 after recovery "
            f"{1000 * after:.1f} ms, at the baseline {1000 * before:.1f} ms"
            + ("" if recovered else ": more than 10 % and 5 ms apart")
        )
        return recovered and not contradictions


def same_median(before: float, after: float) -> bool:
    """Whether two medians, in seconds, are within 10 % or 5 ms of each other."""
    return abs(after - before) <= max(0.1 * before, 0.005)
