"""Write the results into the documentation, in the section of the running Python version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.picture import draw
from benchmarks.row import Result
from benchmarks.table import markdown

__all__ = ["BEGIN", "END", "PAGE", "picture", "write"]

BEGIN = "<!-- measured: begin; written by python -m benchmarks --docs -->"
END = "<!-- measured: end -->"
PAGE = "benchmarks.md"
_HEADING = re.compile(r"### \S+ (\d+)\.(\d+)\n")

Minor = tuple[int, int]


def picture(minor: Minor) -> str:
    """Return the file name of the picture of a Python version."""
    return "benchmarks-{}.{}.svg".format(*minor)


def write(results: Sequence[Result], machine: Machine, folder: Path, remark: str = "") -> None:
    """Write the table and the machine into the page in ``folder``, and the picture beside it.

    They replace those of the same Python version; the sections of other versions stay.
    ``remark`` is added to the description of the machine.
    """
    page = folder / PAGE
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks the line {BEGIN!r} or {END!r}: put both back")
    sections = _sections(inside)
    sections[machine.minor] = _section(results, machine, remark)
    joined = "\n\n".join(sections[minor] for minor in sorted(sections))
    page.write_text(f"{before}{BEGIN}\n\n{joined}\n\n{END}{after}", encoding="utf-8")
    draw(results, f"chaospoint beside others. {machine}", folder / picture(machine.minor))


def _sections(inside: str) -> dict[Minor, str]:
    return {
        (int(heading[1]), int(heading[2])): section.strip()
        for section in re.split("^(?=### )", inside, flags=re.MULTILINE)
        if (heading := _HEADING.match(section))
    }


def _section(results: Sequence[Result], machine: Machine, remark: str) -> str:
    major, minor = machine.minor
    about = f"{machine}. {remark[:1].upper()}{remark[1:]}." if remark else f"{machine}."
    shown = f"![The cost of a call beside others, and injected latency]({picture(machine.minor)})"
    name = machine.python.split()[0]
    return f"### {name} {major}.{minor}\n\n{about}\n\n{markdown(results).strip()}\n\n{shown}"
