"""Debuggers, profilers and coverage work on an armed function, and none of them changes a call."""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import helpers
import pytest
from helpers import FUNCTIONS, PATIENCE, finish, python
from patching_kit import STATES, function_of, labelled, state

from chaospoint import Registry

every_state = pytest.mark.parametrize("name", STATES)
every_function = pytest.mark.parametrize("kind", FUNCTIONS)

OUR_OWN = (
    *("firing", "n", "take", "tally", "inside", "clone", "go_on", "partial", "search", "values"),
    *("found", "fire", "here", "rule"),
)
"""What trampolines name their own variables."""


def traced(call: Callable[[], Any], look: Callable[[FrameType], object]) -> Any:
    """Call with a Python tracer, as debuggers have, that looks at every frame."""
    files = (__file__, helpers.__file__, "<string>")

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        look(frame)
        # Not everywhere: 3.12 itself does not survive that.
        frame.f_trace_opcodes = frame.f_code.co_filename in files
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(before)


@every_state
@every_function
def test_a_tracer_reads_every_frame(registry: Registry, kind: str, name: str) -> None:
    call = FUNCTIONS[kind](labelled(registry))
    code = function_of(call).__code__
    lines: set[int] = set()

    def look(frame: FrameType) -> None:
        dict(frame.f_locals)
        if frame.f_code is code and frame.f_lineno is not None:
            lines.add(frame.f_lineno)

    assert traced(lambda: finish(call()), look) == 7
    before = lines.copy()
    lines.clear()
    with state(registry, name):
        assert traced(lambda: finish(call()), look) == 7
        assert lines == before, "the function's own lines, in its own code"


@every_state
@pytest.mark.parametrize("like", ["_{}", "__{}", "{}", ".{}"])
def test_a_tracer_leaves_arguments_alone_whatever_they_are_called(
    registry: Registry, name: str, like: str
) -> None:
    """Up to 3.12 the interpreter writes the locals back by name after each call of a tracer."""
    names = [like.format(one) for one in (*OUR_OWN, "after", "args", "kwargs", "a0", "k0")]
    if like == ".{}":
        names = ["größe"]
    half = len(names) // 2
    space: dict[str, Any] = {}
    exec(
        f"def make({', '.join(f'v{n}' for n in range(half))}):\n"
        f"    {' = '.join(names[:half] or ['_'])} = 'held'\n"
        f"    def function({', '.join(names[half:])}, /, *more, key, **rest):\n"
        f"        return [{', '.join(names)}, more, key, rest]\n"
        f"    return function\n",
        space,
    )
    function = labelled(registry)(space["make"](*range(half)))
    args = list(range(len(names) - half))
    expected = ["held"] * half + [*args, (99,), "k", {"x": 1}]
    with state(registry, name):
        for look in (lambda frame: None, lambda frame: frame.f_locals):
            call = lambda: function(*args, 99, key="k", x=1)  # noqa: E731
            assert traced(call, look) == expected
        assert function(*args, 99, key="k", x=1) == expected


@every_state
@every_function
def test_a_profiler_sees_calls_return(registry: Registry, kind: str, name: str) -> None:
    call = FUNCTIONS[kind](labelled(registry))
    depth = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal depth
        depth += {"call": 1, "return": -1}.get(event, 0)

    with state(registry, name):
        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            assert finish(call()) == 7
        finally:
            sys.setprofile(before)
    assert depth == 0


@every_state
def test_cprofile_counts_the_calls(registry: Registry, name: str) -> None:
    """A trampoline has the file, line and name of its function, so both are one entry."""

    @labelled(registry)
    def profiled() -> int:
        return 7

    with state(registry, name):
        profile = cProfile.Profile()
        for _ in range(5):
            profile.runcall(profiled)
    stats: Any = pstats.Stats(profile)
    (found,) = [entry for (_, _, what), entry in stats.stats.items() if what == "profiled"]
    assert found[1] == 5


@every_state
def test_threads_are_traced(registry: Registry, name: str) -> None:
    call = FUNCTIONS["function"](labelled(registry))
    code = function_of(call).__code__
    seen: list[str] = []

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code is code:
            seen.append(event)
        return trace

    with state(registry, name):
        threading.settrace(trace)
        try:
            thread = threading.Thread(target=call)
            thread.start()
            thread.join(PATIENCE)
        finally:
            threading.settrace(None)
    assert seen == ["call", "line", "return"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with 3.12")
@every_state
def test_monitoring_tells_of_the_functions_own_lines(registry: Registry, name: str) -> None:
    monitoring = sys.monitoring
    function = function_of(FUNCTIONS["function"](labelled(registry)))
    code, tool = function.__code__, 4
    seen: dict[str, list[Any]] = {"global": [], "local": []}
    body = code.co_firstlineno + 2
    with state(registry, name):
        monitoring.use_tool_id(tool, "test")
        monitoring.register_callback(
            tool,
            monitoring.events.LINE,
            lambda code_now, line: seen[where].append((code_now is code, line)),
        )
        try:
            where = "global"
            monitoring.set_events(tool, monitoring.events.LINE)
            assert function() == 7
            monitoring.set_events(tool, 0)
            where = "local"  # set on the code that the function had before it was armed
            monitoring.set_local_events(tool, code, monitoring.events.LINE)
            assert function() == 7
        finally:
            monitoring.set_events(tool, 0)
            monitoring.set_local_events(tool, code, 0)
            monitoring.free_tool_id(tool)
    assert (True, body) in seen["global"]
    assert seen["local"] == [(True, body)]
    assert function() == 7


# -- coverage ----------------------------------------------------------------------------

COVERED = """
    import chaospoint, typing
    point = {point}
    @point
    def choose(a, *, k=2):
        if a > 1:
            total = a
        else:
            total = k
        for n in range(a):
            total += n
        return total if total < 99 else 0
    @point
    def items(a):
        try:
            yield a
        except ValueError:
            yield 0
        finally:
            a = 0
    @point
    async def wait(a):
        if a:
            return a
        return 0
    @point
    def unused():
        return 1
"""


@pytest.mark.parametrize("keys", ["skip=10**9", "", "when='after'"])
@pytest.mark.parametrize("core", ["ctrace", "pytrace", "sysmon"])
def test_coverage_reports_what_it_reports_of_a_plain_function(
    tmp_path: Path, core: str, keys: str
) -> None:
    if core == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring came with 3.12")
    text = "\n".join(line[4:] for line in COVERED.strip("\n").splitlines())
    (tmp_path / "armed.py").write_text(text.format(point="chaospoint.point('p')"))
    (tmp_path / "plain.py").write_text(text.format(point="typing.final"))
    branch = core != "sysmon"
    python(
        f"""
        import asyncio, sys
        sys.path.insert(0, {str(tmp_path)!r})
        import chaospoint, coverage
        cov = coverage.Coverage(data_file=None, branch={branch}, include={str(tmp_path)!r} + "/*")
        cov.start()
        import armed, plain
        for module in (armed, plain):
            with chaospoint.armed("p", latency=0, {keys}) as handle:
                module.choose(3)
                list(module.items(1))
                asyncio.run(module.wait(1))
        cov.stop()
        cov.json_report(outfile={str(tmp_path)!r} + "/report.json")
        """,
        COVERAGE_CORE=core,
    )
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    plain, armed = (
        next(one for path, one in files.items() if path.endswith(name))
        for name in ("plain.py", "armed.py")
    )
    assert 40 < plain["summary"]["percent_covered"] < 95
    assert armed == plain
