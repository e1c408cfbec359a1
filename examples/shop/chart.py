"""Draw how the orders of a demo went: answer times above, orders that were not paid below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from report import Row

STEP = 0.5
"""Seconds over which the lower chart takes the share of orders that were not paid."""

TICKS = (10, 20, 50, 100, 200)
PAID, NOT_PAID, EDGE = "#1b6ca8", "#c0392b", "#9aa5b1"


def draw(rows: Sequence[Row], file: Path) -> None:
    """Write the chart of the phases to ``file`` as SVG."""
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "chaospoint", "font.size": 9}
    answers = [answer for row in rows for answer in row.load.answers]
    begun = min(answer.due for answer in answers)
    with rc_context(settings):
        figure = Figure(figsize=(10, 4.5), facecolor="white", layout="constrained")
        times, failures = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        for paid, colour, label in ((True, PAID, "paid"), (False, NOT_PAID, "not paid")):
            chosen = [answer for answer in answers if (answer.status == 201) is paid]
            due = [answer.due - begun for answer in chosen]
            milliseconds = [1000 * answer.seconds for answer in chosen]
            times.scatter(due, milliseconds, s=5, color=colour, label=label)
        times.set_yscale("log")
        times.minorticks_off()
        times.set_yticks(TICKS, [f"{tick}" for tick in TICKS])
        times.set_ylabel("answer, ms")
        times.legend(loc="upper right", framealpha=1)
        shares = shares_not_paid([(answer.due - begun, answer.status) for answer in answers])
        failures.bar(*zip(*shares, strict=True), width=STEP, align="edge", color=NOT_PAID)
        failures.set_ylabel("not paid, %")
        failures.set_ylim(0, max(10, *(share for _, share in shares)))
        failures.set_xlabel("seconds")
        for row in rows:
            start = row.load.answers[0].due - begun
            times.annotate(
                row.phase.replace(" (", "\n("),
                (start, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, 3),
                textcoords="offset points",
                fontsize=8,
            )
            for axes in (times, failures):
                axes.axvline(start, color=EDGE, linewidth=0.8)
        for axes in (times, failures):
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def shares_not_paid(orders: Sequence[tuple[float, int]]) -> list[tuple[float, float]]:
    """Return for each step with orders its start and the percentage of them not paid."""
    steps: dict[int, list[bool]] = {}
    for due, status in orders:
        steps.setdefault(int(due / STEP), []).append(status != 201)
    return [
        (number * STEP, 100 * sum(not_paid) / len(not_paid))
        for number, not_paid in sorted(steps.items())
    ]
