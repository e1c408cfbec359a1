"""The demo's evidence convicts, its verdict is strict, and it leaves no process behind."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from chart import draw, shares_not_paid
from evidence import (
    Armed,
    Count,
    Evidence,
    Metrics,
    Tail,
    delays,
    denied_by_the_bank,
    difference,
    disagreements,
    span_events,
    surprises,
)
from load import Answer, Load, percentiles
from report import Report, Row, same_median

DEMO = Path(__file__).with_name("demo.py")

CHARGE = {"step": "payment.charge", "order": "a", "attempt": 1, "seconds": 0.004}
FAILED = CHARGE | {"error": "ConnectTimeout", "injected": "payment.charge exception"}
AT_THE_BANK = {"step": "bank.charge", "order": "a", "attempt": 1}
KEPT = {"step": "orders.save", "order": "a", "attempt": 1, "seconds": 0.001}
PAID = {"step": "orders.paid", "order": "a", "attempt": 1, "seconds": 0.001}
SPAN = {
    "name": "payment.charge",
    "events": [
        {"name": "exception", "attributes": {}},
        {
            "name": "chaospoint.injection",
            "attributes": {"chaospoint.point": "payment.charge", "chaospoint.fault": "exception"},
        },
    ],
}
FAILURE = Armed("payment.charge", "exception")
ONE = Counter({"payment.charge exception": 1})


class Records:
    """The files that a demo leaves, written by hand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("shop.jsonl", "bank.jsonl", "spans.jsonl"):
            (directory / name).touch()
        self._database = sqlite3.connect(directory / "shop.db")
        self._database.execute("CREATE TABLE orders (id, status)")

    def write(self, name: str, *lines: object) -> None:
        with open(self.directory / name, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def keep(self, order: str, status: str) -> None:
        with self._database:
            self._database.execute("INSERT INTO orders VALUES (?, ?)", (order, status))

    def close(self) -> None:
        self._database.close()


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path)
    yield records
    records.close()


def a_good_phase(records: Records) -> None:
    """One order: its first charge fails by injection, the second goes well."""
    second = {"attempt": 2}
    records.write("shop.jsonl", KEPT, FAILED, CHARGE | second, PAID)
    records.write("bank.jsonl", AT_THE_BANK | second)
    records.write("spans.jsonl", SPAN)
    records.keep("a", "paid")


def test_records_that_agree(records: Records) -> None:
    a_good_phase(records)
    count = Evidence(records.directory).take(Metrics(ONE, Counter()), paid=1, armed=FAILURE)
    assert count.agrees
    assert count.metrics == count.spans == count.lines == ONE


def test_a_phase_is_counted_from_where_the_last_one_ended(records: Records) -> None:
    evidence = Evidence(records.directory)
    a_good_phase(records)
    evidence.take(Metrics(ONE, Counter()), paid=1, armed=FAILURE)
    count = evidence.take(Metrics(ONE, Counter()), paid=0)
    assert count.agrees
    assert count.metrics == count.spans == count.lines == Counter()


@pytest.mark.parametrize(
    ("metrics", "paid", "extra", "told"),
    [
        (Counter(), 1, {}, "payment.charge exception: metrics 0, spans 1, lines 1"),
        (ONE + ONE, 1, {}, "payment.charge exception: metrics 2, spans 1, lines 1"),
        (ONE, 1, {"spans.jsonl": SPAN}, "metrics 1, spans 2, lines 1"),
        (ONE, 1, {"shop.jsonl": FAILED | {"order": "b"}}, "metrics 1, spans 1, lines 2"),
        (ONE, 1, {"bank.jsonl": AT_THE_BANK}, "failed by injection, yet reached the bank"),
        (ONE, 1, {"shop.jsonl": CHARGE | {"order": "b"}}, "yet never reached the bank"),
        (ONE, 1, {"shop.jsonl": KEPT | {"order": "b"}}, "the shop kept 2 orders, the database 1"),
        (ONE, 2, {}, "orders paid: 2 by the answers, 1 by the shop, 1 in the database"),
    ],
)
def test_any_contradiction_is_told(
    records: Records, metrics: Counter[str], paid: int, extra: dict[str, object], told: str
) -> None:
    a_good_phase(records)
    for name, line in extra.items():
        records.write(name, line)
    count = Evidence(records.directory).take(Metrics(metrics, Counter()), paid, FAILURE)
    assert not count.agrees
    assert told in count.contradictions[0]


def test_counts_of_two_points_do_not_make_up_for_each_other() -> None:
    here, there = Counter({"a exception": 1}), Counter({"b exception": 1})
    assert len(list(disagreements(metrics=here, spans=there))) == 2


def test_an_attempt_that_took_as_long_as_the_latency_was_delayed() -> None:
    latency = Armed("payment.charge", "latency", seconds=0.12)
    lines = [CHARGE, CHARGE | {"seconds": 0.12}, FAILED | {"seconds": 0.3}, KEPT | {"seconds": 1}]
    assert delays(lines, latency) == Counter({"payment.charge latency": 2})
    assert delays(lines, None) == delays(lines, FAILURE) == Counter()


def test_what_is_armed_and_nothing_else_must_be_injected() -> None:
    """Else a switch that switches nothing off would pass, as long as all counts agree on it."""
    assert not list(surprises(ONE, FAILURE))
    assert list(surprises(ONE, None)) == [
        "payment.charge exception: injected 1 times, though it was not armed"
    ]
    assert list(surprises(Counter(), FAILURE)) == [
        "payment.charge exception: armed, but never injected"
    ]


def test_an_attempt_that_failed_by_itself_may_have_reached_the_bank_or_not() -> None:
    failed = CHARGE | {"error": "TimeoutError"}
    assert not list(denied_by_the_bank([failed], []))
    assert not list(denied_by_the_bank([failed], [AT_THE_BANK]))


def test_only_injections_are_counted_of_a_span() -> None:
    assert span_events([SPAN, {"name": "POST /orders", "events": []}]) == ONE


def test_a_line_still_being_written_is_left_for_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'{"a": 1}\n{"a"')
    tail = Tail(path)
    assert tail.take() == [{"a": 1}]
    with open(path, "ab") as file:
        file.write(b": 2}\n")
    assert tail.take() == [{"a": 2}]
    assert tail.take() == []


def test_a_count_that_went_down_is_not_hidden() -> None:
    assert difference(Counter(), ONE)["payment.charge exception"] == -1


def test_metrics_are_read_from_a_scrape() -> None:
    metrics = Metrics.parse(
        "# TYPE chaospoint_injections counter\n"
        'chaospoint_injections_total{point="payment.charge",fault="exception"} 3.0\n'
        "# TYPE chaospoint_armed_rules gauge\n"
        'chaospoint_armed_rules{source="file"} 1.0\n'
    )
    assert metrics == Metrics(Counter({"payment.charge exception": 3}), Counter(file=1))


@pytest.mark.parametrize(
    ("before", "after", "recovered"),
    [
        (0.010, 0.0149, True),  # within 5 ms
        (0.010, 0.016, False),
        (0.016, 0.010, False),
        (0.200, 0.219, True),  # within 10 %
        (0.200, 0.221, False),
    ],
)
def test_recovery_is_within_a_tenth_or_5_ms(before: float, after: float, recovered: bool) -> None:
    assert same_median(before, after) is recovered


def test_percentiles() -> None:
    assert percentiles([0.2]) == (0.2, 0.2, 0.2)
    assert percentiles([n / 100 for n in range(101)]) == pytest.approx((0.5, 0.95, 0.99))


@pytest.mark.parametrize(
    ("p50", "contradictions", "good", "says"),
    [
        (0.010, (), True, "agree exactly, in every phase: 2 payment.charge exception"),
        (0.010, ("spans 1, lines 2",), False, "recovery: spans 1, lines 2"),
        (0.050, (), False, "more than 10 % and 5 ms apart"),
    ],
)
def test_the_verdict(
    p50: float,
    contradictions: tuple[str, ...],
    good: bool,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def row(phase: str, p50: float, contradictions: tuple[str, ...] = ()) -> Row:
        load = Load(1.0, (), Counter({201: 9, 202: 1}), p50, p50, p50)
        return Row(phase, load, Count(ONE, ONE, ONE, contradictions))

    rows = [row("baseline", 0.010), row("recovery", p50, contradictions)]
    report = Report()
    report.table(rows)
    assert report.verdict(rows) is good
    out = capsys.readouterr().out
    assert "90.0" in out  # of ten orders nine were paid
    assert says in " ".join(out.split())


def test_the_chart_shows_each_phase_and_what_was_not_paid(tmp_path: Path) -> None:
    def row(phase: str, *answers: Answer) -> Row:
        load = Load(1.0, answers, Counter(answer.status for answer in answers), 0.01, 0.01, 0.01)
        return Row(phase, load, Count(ONE, ONE, ONE, ()))

    first = row("baseline", Answer(5.0, 0.01, 201), Answer(5.2, 0.02, 201))
    second = row("30 % failures (HTTP)", Answer(6.0, 0.03, 202), Answer(6.1, 0.02, 201))
    file = tmp_path / "chart.svg"
    draw([first, second], file)
    picture = file.read_text()
    for text in ("baseline", "30 % failures", "(HTTP)", "not paid, %"):
        assert f">{text}</text>" in picture
    assert shares_not_paid([(0.0, 201), (0.2, 201), (1.0, 202), (1.1, 201)]) == [
        (0.0, 0),
        (1.0, 50),
    ]


def test_help_says_what_it_does() -> None:
    done = subprocess.run(
        [sys.executable, DEMO, "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "exits with 1" in done.stdout


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_no_process_is_left_when_it_is_ended_early(
    sent: signal.Signals, code: int, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", DEMO, "--keep", tmp_path],
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        try:
            addresses, _warming_up = demo.stdout.readline(), demo.stdout.readline()
            demo.send_signal(sent)
            demo.communicate(timeout=60)
            assert demo.returncode == code
        finally:
            demo.kill()
    ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", addresses)]
    assert len(ports) == 3
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
