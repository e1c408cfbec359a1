"""The page of the figures: what stands between its two markers is written by the run itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.picture import draw
from benchmarks.row import Result
from benchmarks.table import markdown

__all__ = ["BEGIN", "END", "PAGE", "PICTURE", "write"]

BEGIN = "<!-- measured: begin; written by python -m benchmarks --docs -->"
END = "<!-- measured: end -->"
PAGE, PICTURE = "benchmarks.md", "benchmarks.svg"


def write(results: Sequence[Result], machine: Machine, folder: Path, said: str = "") -> None:
    """Write table and machine into the page in ``folder``, and the picture beside it.

    ``said``: what is to be said of the run.
    """
    page = folder / PAGE
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks the line {BEGIN!r} or {END!r}: put both back")
    told = f"{machine}. {said[:1].upper()}{said[1:]}." if said else f"{machine}."
    made = f"{told}\n\n{markdown(results)}"
    page.write_text(f"{before}{BEGIN}\n\n{made}\n{END}{after}", encoding="utf-8")
    draw(results, f"chaospoint beside others. {machine}", folder / PICTURE)
