"""Fault coverage: which points tests reached, and which kinds of faults fired there.

Line coverage shows that an error handler ran; fault coverage shows that the fault it handles was
injected. A `Watch` counts calls and an observer counts injections; both counts are exact.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from math import floor
from typing import TYPE_CHECKING, Any

from chaospoint._kernel.names import matcher
from chaospoint._kernel.tally import counted, counter
from chaospoint._registry.registry import Registry
from chaospoint.errors import ChaosError
from chaospoint.testing.kit.watch import Watch

if TYPE_CHECKING:
    from rich.table import Table

    from chaospoint._kernel.injection import Injection

__all__ = ["FaultCoverage", "fault_coverage"]

_VERSION = 1
_WIDTH = 1_000_000  # columns, so that nothing is cut off or folded


def fault_coverage(points: str = "*", *, registry: Registry | None = None) -> FaultCoverage:
    """Count reaches and injections within a ``with`` block.

    Write ``with fault_coverage() as coverage: unittest.main(exit=False)`` and then
    ``print(coverage)``. ``points``: the name or glob of the points to count. ``registry``: the
    default registry if None.
    """
    return FaultCoverage(points, registry=registry)


class FaultCoverage:
    """How often each point was reached, and how often each kind of fault fired there.

    All injections count, whatever armed the rule: ``latency+exception`` counts once for each kind,
    and ``off`` never, because it does nothing. It counts all threads and tasks of this process; add
    the counts of other processes with `merge`. Read it at any time; the counts stay after the
    block. Safe from any thread, but only one block may be active at a time.
    """

    def __init__(self, points: str = "*", *, registry: Registry | None = None) -> None:
        self._pattern = points
        self._match = matcher(points)
        self._registry = Registry.default() if registry is None else registry
        self._watch = Watch(self._registry)
        self._fired: dict[tuple[str, str], Iterator[int]] = {}
        self._known: frozenset[str] | None = frozenset()  # None while counting: ask the registry
        self._merged: dict[str, tuple[int, Counter[str]]] = {}

    def __enter__(self) -> FaultCoverage:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start counting, in addition to earlier counts; `ChaosError` if it counts already."""
        if self._known is None:
            raise ChaosError(
                "this fault coverage is counting already: stop it first, or create another"
            )
        self._known = None
        self._registry.add_observer(self)
        self._watch.start()

    def stop(self) -> None:
        """Stop counting; stopping twice is allowed."""
        if self._known is None:
            self._watch.stop()
            self._registry.remove_observer(self)
            self._known = self._names()

    def observe(self, injection: Injection) -> None:
        """Count an injection; the registry calls this."""
        for kind in injection.fault.split("+"):
            next(self._fired.setdefault((injection.point, kind), counter()))

    def merge(self, data: Mapping[str, Any]) -> None:
        """Add the counts of another process: the result of its `as_data`, also read from JSON.

        A point is known if any process knows it. Raises `ChaosError`, and adds nothing, if the data
        is invalid or counts other points.
        """
        try:
            version, pattern = data["version"], data["pattern"]
            added = {
                str(name): (
                    int(counts["reaches"]),
                    Counter({str(kind): int(times) for kind, times in counts["fired"].items()}),
                )
                for name, counts in data["points"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ChaosError(
                f"this is not fault coverage ({type(error).__name__}: {error}): pass the result of "
                "as_data()"
            ) from None
        if (version, pattern) != (_VERSION, self._pattern):
            raise ChaosError(
                f"fault coverage of {pattern!r} (version {version!r}) cannot be added to that of "
                f"{self._pattern!r} (version {_VERSION}): count the same points everywhere"
            )
        for name, (reaches, fired) in added.items():
            before, kinds = self._merged.get(name, (0, Counter[str]()))
            self._merged[name] = (before + reaches, kinds + fired)

    @property
    def percent(self) -> float:
        """The percentage of points at which at least one fault fired, from 0 to 100.

        All known points that match the glob count, including those that no test reached: points in
        the registry and in merged data. Points in modules that were not imported are unknown. It is
        0 if there are no points, because then nothing was tested.
        """
        return _percent(self._points())

    def as_data(self) -> dict[str, Any]:
        """Return the counts as plain data, which `to_json` writes and `merge` reads.

        ``{"version": 1, "pattern": "*", "percent": 50.0, "points": {"payment.charge": {"reaches":
        12, "fired": {"exception": 2}}, ...}}``; points and kinds are sorted by name.
        """
        points = self._points()
        return {
            "version": _VERSION,
            "pattern": self._pattern,
            "percent": _percent(points),
            "points": {
                name: {"reaches": reaches, "fired": dict(sorted(fired.items()))}
                for name, (reaches, fired) in points.items()
            },
        }

    def to_json(self) -> str:
        """Return `as_data` as JSON; equal counts give equal text."""
        return json.dumps(self.as_data(), indent=2) + "\n"

    def __str__(self) -> str:
        """Return a table of the points and a line with the percentage; needs ``rich``."""
        points = self._points()
        if not points:
            return (
                f"no known point matches {self._pattern!r}, so no fault was tested: import the "
                "modules that have points in the tests, or write another glob"
            )
        at_all = sum(1 for _, fired in points.values() if fired)
        share = floor(10 * _percent(points)) / 10  # 99.96 is not 100
        total = f"a fault fired at {at_all} of {len(points)} points: {share:.1f}%"
        return f"{_text(_table(points))}\n{total}"

    def _names(self) -> frozenset[str]:
        return frozenset(one.name for one in self._registry.points() if self._match(one.name))

    def _points(self) -> dict[str, tuple[int, Counter[str]]]:
        """Return reaches and injections by kind, for each point, by name."""
        known = self._names() if self._known is None else self._known
        own = self._watch.counts(self._pattern)
        found = {name: (own[name], Counter[str]()) for name in known}
        for (name, kind), fired in self._fired.copy().items():
            if name in found:
                found[name][1][kind] = counted(fired)
        for name, (reaches, kinds) in self._merged.items():
            before, fired_here = found.get(name, (0, Counter[str]()))
            found[name] = (before + reaches, fired_here + kinds)
        return dict(sorted(found.items()))


def _percent(points: Mapping[str, tuple[int, Counter[str]]]) -> float:
    if not points:
        return 0.0
    return 100.0 * sum(1 for _, fired in points.values() if fired) / len(points)


def _table(points: Mapping[str, tuple[int, Counter[str]]]) -> Table:
    """Return a table with a row for each point and a column for each kind that fired."""
    try:
        from rich.table import Table
    except ModuleNotFoundError:
        raise ChaosError(
            "the table of fault coverage needs rich, which is not installed: "
            "pip install 'chaospoint[testing]'"
        ) from None
    kinds = sorted({kind for _, fired in points.values() for kind in fired})
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("POINT")
    for name in ("REACHES", *(kind.upper() for kind in kinds)):
        table.add_column(name, justify="right")
    table.add_column("")
    for name, (reaches, fired) in points.items():
        note = "" if fired else "reached, no fault fired" if reaches else "never reached"
        table.add_row(name, str(reaches), *(str(fired[kind] or "-") for kind in kinds), note)
    return table


def _text(table: Table) -> str:
    from io import StringIO

    from rich.console import Console

    written = StringIO()
    Console(file=written, width=_WIDTH, color_system=None, markup=False).print(table)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())
