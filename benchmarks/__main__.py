"""``python -m benchmarks``: measure, print the table, and check it against the budgets."""

from __future__ import annotations

import json
import logging
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import sleep

from rich.console import Console

from benchmarks import armed, disarmed, docs, firing, latency, peers, scale, startup, threads
from benchmarks.budget import Verdict
from benchmarks.machine import Machine, busy
from benchmarks.measure import Effort
from benchmarks.row import TRIES, Result, Row, judge
from benchmarks.table import cells, table

__all__ = ["FAMILIES", "main"]

Family = Callable[[], Iterable[Row]]

FAMILIES: Sequence[Family] = (
    disarmed.rows,
    armed.rows,
    firing.rows,
    threads.rows,
    scale.rows,
    startup.rows,
    latency.rows,
    peers.rows,
)
_UNCHECKED: Sequence[Family] = (peers.rows,)
_DOCS = Path(__file__).parents[1] / "docs" / "explanation"
QUICK = Effort(quick=True, builds=10, rounds=30)
REST_SECONDS = 45.0  # a machine that has just been busy, as in CI, stays slow for a while
FULL = Effort(quick=False, builds=30, rounds=60)


def main(arguments: Sequence[str] | None = None, families: Sequence[Family] = FAMILIES) -> int:
    """Run the benchmarks as ``arguments`` say, and return the exit code."""
    options = _options(arguments)
    rows = _rows(families, options)
    if not rows:
        print(
            f"no row has {options.only!r} in its name; run without --only to see all names",
            file=sys.stderr,
        )
        return 2
    effort = QUICK if options.quick else FULL
    machine, before = Machine.this(), busy()
    with _quiet_log():
        tries = TRIES if options.check else 1
        results = judge(rows, effort, tries, _progress(len(rows)), partial(sleep, REST_SECONDS))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table(results, f"chaospoint: what it costs\n{machine}"))
    remark = before or busy()
    if remark:
        console.print(remark)
    if options.json is not None:
        _write(options.json, machine, options, results)
    if options.docs is not None:
        quick = "a quick run" if options.quick else ""
        docs.write(results, machine, options.docs, "; ".join(filter(None, (quick, remark))))
    return _check(results) if options.check else 0


def _options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="take about a minute, with more noise")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"fail if a row misses its budget {TRIES} times; leave out other libraries",
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="measure only rows with TEXT in their name"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results as JSON")
    parser.add_argument(
        "--docs",
        type=Path,
        nargs="?",
        const=_DOCS,
        metavar="FOLDER",
        help="write table and picture of this Python into the page in FOLDER (docs/explanation)",
    )
    options = parser.parse_args(arguments)
    if options.docs is not None and (options.check or options.only):
        parser.error("--docs needs a whole run: leave out --check and --only")
    if options.docs is not None and not (options.docs / docs.PAGE).is_file():
        parser.error(f"--docs: there is no {docs.PAGE} in {options.docs}")
    if options.json is not None and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}")
    return options


def _rows(families: Iterable[Family], options: Namespace) -> list[Row]:
    measured = [family for family in families if not (options.check and family in _UNCHECKED)]
    rows = [row for family in measured for row in family() if options.only in row.title]
    return [row for row in rows if not (options.quick and row.slow)]


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Hide warnings of the log: first injections, and rules that are never reached.

    INFO and DEBUG are already off, because nothing configures logging here.
    """
    log = logging.getLogger("chaospoint")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _progress(count: int) -> Callable[[Row], None]:
    done = 0

    def show(row: Row) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r\033[K{done}/{count} {row.title}", end="", file=sys.stderr, flush=True)

    return show


def _write(file: Path, machine: Machine, options: Namespace, results: Sequence[Result]) -> None:
    document = {
        "machine": asdict(machine),
        "quick": options.quick,
        "busy": busy(),
        "rows": [
            {
                "group": result.row.group,
                "name": result.row.name,
                "unit": result.row.unit,
                "budget": asdict(result.row.budget),
                "ours": result.ours and asdict(result.ours),
                "base": result.base and asdict(result.base),
                "figure": result.figure and asdict(result.figure),
                "verdict": result.verdict,
                "tries": result.tries,
                "slowness": result.slowness,
                "error": result.error,
            }
            for result in results
        ],
    }
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check(results: Iterable[Result]) -> int:
    bad = [result for result in results if result.verdict in (Verdict.MISSED, Verdict.FAILED)]
    for result in bad:
        _, _, _, figure, _, noise, limit, verdict = cells(result)
        what = result.error or f"{figure}, {limit}, noise {noise}"
        print(f"{verdict}: {result.row.title}: {what}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
