"""Draw the main figures as one SVG picture.  The same results give the same file.

Matplotlib draws it, without its global state.  The background is white, so that the picture is
readable on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.latency import GROUP as LATENCY
from benchmarks.peers import FIRES, OFF, ON, OURS, PASSES
from benchmarks.peers import GROUP as PEERS
from benchmarks.row import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_OURS, _OTHERS, _LINE = "#1b6ca8", "#9aa5b1", "#c0392b"


def draw(results: Sequence[Result], title: str, file: Path) -> None:
    """Draw ``results`` into ``file``, without results that were not measured."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "chaospoint", "font.size": 9}
    with rc_context(settings):
        figure = Figure(figsize=(10, 11), facecolor="white", layout="constrained")
        off, on, latency = figure.subplots(3, 1, height_ratios=(3, 5, 3))
        _costs(off, results, (OFF, PASSES), "A call while nothing is enabled")
        _costs(on, results, (ON, FIRES), "A call while enabled: without firing (on), and firing")
        _latency(latency, results)
        figure.suptitle(title, fontsize=8, wrap=True)
        figure.savefig(
            file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None}
        )


def _costs(axes: Axes, results: Sequence[Result], states: Sequence[str], title: str) -> None:
    bars: list[tuple[str, float]] = []
    bare: list[float] = []
    for result in results:
        _, _, state = result.row.name.rpartition(", ")
        if result.row.group == PEERS and state in states and result.ours and result.base:
            bars.append((result.row.name, result.ours.median))
            bare.append(result.base.median)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel("nanoseconds a call, on a logarithmic scale")
    if not bars:
        return
    names, values = zip(*bars, strict=True)
    colours = [_OURS if name.startswith(OURS) else _OTHERS for name in names]
    drawn = axes.barh(names, values, color=colours)
    axes.bar_label(drawn, labels=[f"{value:,.0f}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(1, 4 * max(values))
    axes.axvline(sorted(bare)[len(bare) // 2], color=_LINE, linewidth=1, label="undecorated")
    axes.legend(loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)


def _latency(axes: Axes, results: Sequence[Result]) -> None:
    axes.set_title("Injected latency against what was asked for", loc="left", fontweight="bold")
    axes.set_xlabel("asked for, milliseconds (logarithmic, as the other axis)")
    axes.set_ylabel("injected, milliseconds")
    ends: set[float] = set()
    for way, mark in (("sync", "o"), ("async", "x")):
        points = [
            (result.row.at, result.ours.median / 1e6)
            for result in results
            if result.row.group == LATENCY
            and result.row.name.endswith(f", {way}")
            and result.row.at is not None
            and result.ours is not None
        ]
        if points:
            asked, injected = zip(*points, strict=True)
            ends |= set(asked)
            axes.plot(asked, injected, mark, label=way, color=_OURS, fillstyle="none")
    if ends:
        line = (min(ends), max(ends))
        axes.plot(line, line, color=_LINE, linewidth=1, label="exactly as asked")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.legend(loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
