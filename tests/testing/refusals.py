"""Run pytest with invalid options, many in one process, and return its error messages."""

from __future__ import annotations

import contextlib
import io
import json
import sys

import pytest


def refused(project: pytest.Pytester, *runs: list[str]) -> list[tuple[int, list[str]]]:
    """Run pytest with each list of options; return the exit codes and the lines of stderr."""
    command = [sys.executable, __file__, json.dumps(runs)]
    done = project.run(*command, timeout=120)
    assert done.ret == 0, done.stderr.str()
    return [(status, stderr.splitlines()) for status, stderr in json.loads(done.outlines[-1])]


def _main(options: list[str]) -> tuple[int, str]:
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
        status = pytest.main(options)
    return int(status), stderr.getvalue()


if __name__ == "__main__":
    print(json.dumps([_main(options) for options in json.loads(sys.argv[1])]))
