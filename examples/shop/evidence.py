"""What was injected, counted three times over from three records that know nothing of each other.

1. *Metrics*: what the shop's `/metrics` says of `chaospoint_injections_total`.
2. *Spans*: the `chaospoint.injection` events in the spans that the shop exported.
3. *Lines*: what the services themselves wrote down, an attempt a line.
   - A failure is an attempt whose exception the shop recognised as injected. The bank and the
     database bear witness: the bank has never heard of such an attempt, but of every good one;
     and each order that the shop says it kept, or that was paid, is a row in the database.
   - A latency leaves no exception behind, only time. While one is armed, on every call of its
     point, an attempt counts as delayed if it took at least that long: a sleep never ends early,
     so none is missed. Elsewhere slowness proves nothing, the machine may have stalled, and it
     is not counted; there the lines vouch for the failures, and the metrics and spans have to
     agree that there was no latency.

Every count is a `Counter` keyed by "point fault", such as "payment.charge latency". That three
counts agree is not enough: what was armed must have been injected, and nothing else.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Of one scrape, the two metrics that the demo reads."""

    injections: Counter[str]
    armed: Counter[str]  # by source

    @classmethod
    def parse(cls, text: str) -> "Metrics":
        injections: Counter[str] = Counter()
        armed: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "chaospoint_injections_total":
                    key = f"{sample.labels['point']} {sample.labels['fault']}"
                    injections[key] += int(sample.value)
                elif sample.name == "chaospoint_armed_rules":
                    armed[sample.labels["source"]] += int(sample.value)
        return cls(injections, armed)


@dataclass(frozen=True, slots=True)
class Armed:
    """What is armed during a phase: one fault on one point.

    A latency says its `seconds`; it has to hit every call, and the point's attempts have to be
    logged under the point's name.
    """

    point: str
    fault: str
    seconds: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.point} {self.fault}"


@dataclass(frozen=True, slots=True)
class Count:
    """The injections of one phase by all three records, and what in them contradicts the rest."""

    metrics: Counter[str]
    spans: Counter[str]
    lines: Counter[str]
    contradictions: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return not self.contradictions


class Tail:
    """The lines of JSON that a growing file got since it was last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def take(self) -> list[Line]:
        with open(self._path, "rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]  # a line still being written is for the next time
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


class Evidence:
    """Reads what each record got since the last time: once a phase, when nothing is under way."""

    def __init__(self, directory: Path) -> None:
        self._shop = Tail(directory / "shop.jsonl")
        self._bank = Tail(directory / "bank.jsonl")
        self._spans = Tail(directory / "spans.jsonl")
        self._database = directory / "shop.db"
        self._scraped: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()

    def take(self, metrics: Metrics, paid: int, armed: Armed | None = None) -> Count:
        """Count what is new. `paid` is how many orders the customers were told are paid."""
        scraped, self._scraped = self._scraped, metrics.injections
        before, self._rows = self._rows, rows(self._database)
        shop = self._shop.take()
        by_metrics = difference(metrics.injections, scraped)
        by_spans = span_events(self._spans.take())
        by_lines = failures(shop) + delays(shop, armed)
        return Count(
            by_metrics,
            by_spans,
            by_lines,
            (
                *disagreements(metrics=by_metrics, spans=by_spans, lines=by_lines),
                *surprises(by_metrics, armed),
                *denied_by_the_bank(shop, self._bank.take()),
                *denied_by_the_database(shop, paid, difference(self._rows, before)),
            ),
        )


def span_events(spans: Iterable[Line]) -> Counter[str]:
    return Counter(
        f"{event['attributes']['chaospoint.point']} {event['attributes']['chaospoint.fault']}"
        for span in spans
        for event in span["events"]
        if event["name"] == "chaospoint.injection"
    )


def failures(shop: Iterable[Line]) -> Counter[str]:
    return Counter(line["injected"] for line in shop if "injected" in line)


def delays(shop: Iterable[Line], armed: Armed | None) -> Counter[str]:
    if armed is None or not armed.seconds:
        return Counter()
    slow = sum(line["step"] == armed.point and line["seconds"] >= armed.seconds for line in shop)
    return Counter({armed.key: slow})


def disagreements(**counts: Counter[str]) -> Iterable[str]:
    for key in sorted(set().union(*counts.values())):
        if len({count[key] for count in counts.values()}) > 1:
            said = ", ".join(f"{name} {count[key]}" for name, count in counts.items())
            yield f"{key}: {said}"


def surprises(injected: Counter[str], armed: Armed | None) -> Iterable[str]:
    for key in sorted(injected):
        if armed is None or key != armed.key:
            yield f"{key}: injected {injected[key]} times, though it was not armed"
    if armed is not None and not injected[armed.key]:
        yield f"{armed.key}: armed, but never injected"


def denied_by_the_bank(shop: Iterable[Line], bank: Iterable[Line]) -> Iterable[str]:
    heard = {(line["order"], line["attempt"]) for line in bank}
    for line in shop:
        if line["step"] == "payment.charge":
            reached = (line["order"], line["attempt"]) in heard
            who = f"attempt {line['attempt']} to charge {line['order']}"
            if "injected" in line and reached:
                yield f"{who} failed by injection, yet reached the bank"
            if "error" not in line and not reached:
                yield f"{who} went well, yet never reached the bank"


def denied_by_the_database(shop: Iterable[Line], paid: int, rows: Counter[str]) -> Iterable[str]:
    good = Counter(line["step"] for line in shop if "error" not in line)
    if good["orders.save"] != rows.total():
        yield f"the shop kept {good['orders.save']} orders, the database {rows.total()}"
    if not good["orders.paid"] == paid == rows["paid"]:
        yield (
            f"orders paid: {paid} by the answers, {good['orders.paid']} by the shop, "
            f"{rows['paid']} in the database"
        )


def rows(database: Path) -> Counter[str]:
    """The number of orders by status."""
    connection = sqlite3.connect(database)
    try:
        return Counter(dict(connection.execute("SELECT status, count(*) FROM orders GROUP BY 1")))
    finally:
        connection.close()


def difference(now: Counter[str], before: Counter[str]) -> Counter[str]:
    """What came in between; unlike `now - before` it does not hide a count that went down."""
    changed = {key: now[key] - before[key] for key in now | before}
    return Counter({key: count for key, count in changed.items() if count})
