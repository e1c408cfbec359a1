"""Fault coverage: which points were reached, and with which kinds of faults, while tests ran.

Line coverage says that a handler was run; this says that the fault it is there for was injected.
Calls are counted by a `Watch`, injections as observers are told of them, both exactly.
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
_WIDE = 1_000_000  # columns: nothing is cut off or folded


def fault_coverage(points: str = "*", *, registry: Registry | None = None) -> FaultCoverage:
    """Return what counts reaches and injections for the length of a ``with`` block.

    ``with fault_coverage() as coverage: unittest.main(exit=False)``, and after it
    ``print(coverage)``. ``points``: the name or glob of the points that count; ``registry``: the
    default one if not given.
    """
    return FaultCoverage(points, registry=registry)


class FaultCoverage:
    """Which of the points were reached, and which kinds of faults fired there, how often.

    A fault counts where an injection was told of, whoever armed it: ``latency+exception`` once for
    each of the two kinds, ``off`` never, since it does nothing. It counts in this process, in all
    of its threads and tasks; what others counted is added with `merge`. Read it at any time;
    after the block it stays as it was. Safe from any thread, but entered once at a time.
    """

    def __init__(self, points: str = "*", *, registry: Registry | None = None) -> None:
        self._pattern = points
        self._match = matcher(points)
        self._registry = Registry.default() if registry is None else registry
        self._watch = Watch(self._registry)
        self._fired: dict[tuple[str, str], Iterator[int]] = {}
        self._known: frozenset[str] | None = frozenset()  # None: as the registry has them now
        self._merged: dict[str, tuple[int, Counter[str]]] = {}

    def __enter__(self) -> FaultCoverage:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to count; what was counted before stays."""
        if self._known is None:
            raise ChaosError("this fault coverage counts already: stop it first, or make another")
        self._known = None
        self._registry.add_observer(self)
        self._watch.start()

    def stop(self) -> None:
        """Count no more; no error if it was stopped before."""
        if self._known is None:
            self._watch.stop()
            self._registry.remove_observer(self)
            self._known = self._names()

    def observe(self, injection: Injection) -> None:
        """Count an injection; this is how the registry tells of it."""
        for kind in injection.fault.split("+"):
            next(self._fired.setdefault((injection.point, kind), counter()))

    def merge(self, data: Mapping[str, Any]) -> None:
        """Add what another process counted: its `as_data`, also if that came through JSON.

        Counts are added up, and a point is known if any process knows it. Raises `ChaosError` for
        data that is none, or is of other points; nothing is added then.
        """
        try:
            version, pattern = data["version"], data["pattern"]
            read = {
                str(name): (
                    int(one["reaches"]),
                    Counter({str(kind): int(times) for kind, times in one["fired"].items()}),
                )
                for name, one in data["points"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ChaosError(
                f"this is no fault coverage ({type(error).__name__}: {error}): give what "
                "as_data() returned"
            ) from None
        if (version, pattern) != (_VERSION, self._pattern):
            raise ChaosError(
                f"fault coverage of {pattern!r} (version {version!r}) cannot be added to that of "
                f"{self._pattern!r} (version {_VERSION}): count the same points everywhere"
            )
        for name, (reaches, fired) in read.items():
            before, kinds = self._merged.get(name, (0, Counter[str]()))
            self._merged[name] = (before + reaches, kinds + fired)

    @property
    def percent(self) -> float:
        """The share of the points at which at least one fault fired, from 0 to 100.

        Of all points that are known at the end, in the registry or in what was merged, and match
        the glob: also those that no test reached. Points in modules that no test imports are not
        known. Without any point it is 0, for then nothing was tested.
        """
        return _percent(self._points())

    def as_data(self) -> dict[str, Any]:
        """Return the counts as plain data: what `to_json` writes and `merge` reads.

        ``{"version": 1, "pattern": "*", "percent": 50.0, "points": {"payment.charge": {"reaches":
        12, "fired": {"exception": 2}}, ...}}``, by name, and the kinds by name.
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
        """Return `as_data` as JSON, which is the same for the same counts."""
        return json.dumps(self.as_data(), indent=2) + "\n"

    def __str__(self) -> str:
        """Return a table of the points and a line with the share; it needs ``rich``."""
        points = self._points()
        if not points:
            return (
                f"no point is known that {self._pattern!r} matches, so no fault was tested: have "
                "the tests import what has points, or write another glob"
            )
        at_all = sum(1 for _, fired in points.values() if fired)
        share = floor(10 * _percent(points)) / 10  # 99.96 is not 100
        told = f"a fault fired at {at_all} of {len(points)} points: {share:.1f}%"
        return f"{_text(_table(points))}\n{told}"

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
    """One line a point, one column for each kind that fired anywhere."""
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
        why = "" if fired else "reached, no fault fired" if reaches else "never reached"
        table.add_row(name, str(reaches), *(str(fired[kind] or "-") for kind in kinds), why)
    return table


def _text(table: Table) -> str:
    from io import StringIO

    from rich.console import Console

    written = StringIO()
    Console(file=written, width=_WIDE, color_system=None, markup=False).print(table)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())
