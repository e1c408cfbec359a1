"""Run the code blocks of the README and of each page in docs/, and follow their links.

The blocks of a page run in order. Python blocks share one namespace. If the first line of a block
names a file, the test writes that file and does not run it. Shell blocks run in the folder of these
files; a ``console`` block must print what the page shows, and ``sh background`` runs until the page
ends. CI runs the blocks that install packages or run the whole suite.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import chaospoint

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
BLOCK = re.compile(r"^```(\w+)( background)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README = PAGES[0].read_text()
SLOW = {"docs/how-to/test-with-faults.md"}
RUN_BY_CI = ("uv run", "pip install")
PORT = "8475"
WITHOUT_CODE = {
    "docs/README.md",
    "docs/explanation/how-it-works.md",
    "docs/explanation/patching.md",
    "docs/explanation/under-fire.md",
    "docs/reference/supported.md",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(kind + flag, code) for kind, flag, code in BLOCK.findall(page.read_text())]


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def wait_for_answer(process: subprocess.Popen[bytes], port: str) -> None:
    """Ask until the service answers. Each attempt waits for the socket and not for the clock."""
    for _ in range(100_000):
        assert process.poll() is None, "the service ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=5).close()
            return
        except OSError:
            continue
    raise AssertionError("the service did not answer")


@pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name, marks=[pytest.mark.once] * (name in SLOW))
        for page, name in zip(PAGES, NAMES, strict=True)
    ],
)
def test_the_blocks_of_the_page_run(page: Path, tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    port = free_port()
    background: list[subprocess.Popen[bytes]] = []
    environment = {key: value for key, value in os.environ.items() if "CHAOSPOINT" not in key}
    # If installed, ordeal skips tests with the marker `chaos`, and schemathesis takes seconds.
    environment["PYTEST_ADDOPTS"] = "-p no:ordeal -p no:schemathesis -p no:cacheprovider"
    environment["CHAOSPOINT_URL"] = f"http://127.0.0.1:{port}"
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    ran = 0
    try:
        for kind, code in blocks(page):
            if kind == "text" or (kind == "sh" and any(word in code for word in RUN_BY_CI)):
                continue
            ran += 1
            if (named := re.match(r"# (\S+\.(?:py|yaml|toml|json))\n", code)) is not None:
                (tmp_path / named[1]).write_text(code)
            elif kind == "python":
                exec(compile(code, f"{page.name}: block {ran}", "exec"), names)
            elif kind == "sh background":
                words = f"exec env {code}".replace("ADMIN=true", f"ADMIN=127.0.0.1:{port}")
                background.append(
                    subprocess.Popen(["bash", "-c", words], cwd=tmp_path, env=environment)
                )
                wait_for_answer(background[-1], port)
            elif kind in ("sh", "console"):
                command, _, printed = code.removeprefix("$ ").partition("\n")
                script = "set -euo pipefail\n" + (code if kind == "sh" else command)
                done = subprocess.run(
                    ["bash", "-c", script.replace(PORT, port)],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=300,
                )
                assert done.returncode == 0, done.stdout + done.stderr
                assert kind == "sh" or done.stdout == printed
            else:
                raise AssertionError(f"nothing runs a block of {kind!r}")
    finally:
        chaospoint.disarm()
        for process in background:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=10)
    name = page.relative_to(ROOT).as_posix()
    assert (ran == 0) == (name in WITHOUT_CODE), f"{ran} blocks ran; correct WITHOUT_CODE"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_links_of_the_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    for link in links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, link


def test_the_index_lists_each_page_once() -> None:
    index = ROOT / "docs" / "README.md"
    links = re.findall(r"^\* \[[^]]+\]\(([^)]+)\): ", index.read_text(), re.MULTILINE)
    pages = {page.relative_to(index.parent).as_posix() for page in PAGES if page != PAGES[0]}
    assert sorted(links) == sorted(pages - {"README.md"})


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_costs_in_the_readme_are_those_of_the_benchmarks() -> None:
    """Each figure is the one of its row on CPython 3.11, rounded."""
    page = (ROOT / "docs" / "explanation" / "benchmarks.md").read_text().split("\n### CPython ")[1]
    assert page.startswith("3.11\n")
    group, measured = "", {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("**"):
            group = cells[0].strip("*")
        elif len(cells) == 8:
            measured[group, cells[0]] = cells[3].lstrip("+")
    costs = dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+ (?:ns|µs|x))", README, re.MULTILINE))
    rows = {
        "a disarmed function": ("disarmed", "function"),
        "one armed rule that does not fire": ("armed, does not fire", "function"),
        "a firing that raises": ("armed, fires", "exception"),
        "arming and disarming one name": (
            "10,000 points, half of them on methods",
            "arm and disarm one name",
        ),
    }
    assert len(costs) == len(rows)
    for label, row in rows.items():
        [published] = [cost for text, cost in costs.items() if text.startswith(label)]
        number, unit = published.split()
        exact, exact_unit = measured[row].split()
        digits = len(number.partition(".")[2])
        assert (f"{float(exact):.{digits}f}", exact_unit) == (number, unit), label
