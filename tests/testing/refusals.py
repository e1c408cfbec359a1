"""What pytest says to options that it refuses: asked in one process for many of them."""

from __future__ import annotations

import contextlib
import io
import json
import sys

import pytest


def refused(project: pytest.Pytester, *runs: list[str]) -> list[tuple[int, list[str]]]:
    """Begin a run with each of these options; return their exit codes and lines of stderr."""
    command = [sys.executable, __file__, json.dumps(runs)]
    done = project.run(*command, timeout=120)
    assert done.ret == 0, done.stderr.str()
    return [(status, said.splitlines()) for status, said in json.loads(done.outlines[-1])]


def _main(options: list[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = pytest.main(options)
    return int(status), said.getvalue()


if __name__ == "__main__":
    print(json.dumps([_main(options) for options in json.loads(sys.argv[1])]))
