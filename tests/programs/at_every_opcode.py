"""Interrupt each change and each firing at every opcode, and check what is left behind.

``python at_every_opcode.py HOW TRIES [WHAT...]``. HOW: the kind of interruption. TRIES: the number
of opcodes to interrupt, evenly spread and different on each version of Python; 0 for all. WHAT: the
actions to interrupt, by default all. ``python at_every_opcode.py signals SECONDS [WHAT...]``
repeats the actions for so many seconds while real signals arrive whose handler raises.

A signal *arrives* at an opcode of chaospoint as a real one does: C code records it, and the
interpreter calls the handler at the next place where it checks for signals. These places are the
starts of functions, backward jumps and the ends of calls. So each handler runs where a real one
can, and a signal arrives between any two such places. No Python code may run in between, so a
function of Python's C API traces the opcodes there and removes itself. An opcode that neither calls
nor jumps backwards is left out: its handler would run at the same place as that of the next opcode.

Two cases are left to the tests with real signals: signals that arrive in the middle of C code, such
as while waiting for a lock, and signals that arrive in the standard library.
"""

from __future__ import annotations

import asyncio
import ctypes
import dis
import faulthandler
import json
import logging
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import count
from types import FrameType
from typing import Any

import chaospoint
from chaospoint import arming
from chaospoint._kernel import fork as _fork
from chaospoint._kernel.context import in_chaospoint
from chaospoint._kernel.ending import ending
from chaospoint._kernel.lock import arming_lock as lock
from chaospoint._kernel.reporting import bugs
from chaospoint._kernel.threads import BeginningCall
from chaospoint._registry.handle import Armed
from chaospoint.errors import NotPermitted

logging.disable()
faulthandler.dump_traceback_later(float(os.environ.get("PATIENCE", "1500")), exit=True)
elsewhere: list[str] = []  # the places whose exceptions Python reported and dropped


def unraisable(report: Any) -> None:
    """Record exceptions that Python reports and drops: those in fork hooks and in callbacks.

    CPython 3.11 raises an exception of the starting thread in the new thread.
    """
    module = getattr(report.object, "__module__", None) or ""
    if isinstance(report.object, BeginningCall) or not module.startswith("chaospoint"):
        elsewhere.append(repr(report.object))  # itself would live on


sys.unraisablehook = unraisable

registry = chaospoint.Registry.default()
point = chaospoint.point("a.b")


class Limit(Exception):
    """The exception of a time limit."""


class Stop(BaseException):
    """An exception of a signal handler that is not an `Exception`."""


RAISED = {"Exception": Limit, "BaseException": Stop, "KeyboardInterrupt": KeyboardInterrupt}


# -- what arrives -------------------------------------------------------------------------------


def _in_c(name: str, *arguments: Any) -> Any:
    """Return a tracing function of Python's C API."""
    function = getattr(ctypes.PyDLL(None), name)
    function.argtypes = [*arguments, ctypes.py_object, ctypes.py_object, ctypes.py_object]
    function.restype = None
    return function


_nothing = _in_c("Py_IsInitialized")
_signal = _in_c("PyErr_SetInterruptEx", ctypes.c_int)
_signal.restype = (_nothing,).__getitem__  # it returns 0; what is returned traces from then on
_throw = _in_c("PyThreadState_SetAsyncExc", ctypes.c_ulong, ctypes.py_object)
_throw.restype = (None, _nothing).__getitem__  # it returns 1


def _arrival(how: str) -> Any:
    if how == "SetAsyncExc":
        return partial(_throw, threading.get_ident(), Stop)
    return partial(_signal, signal.SIGINT)


_INERT = (
    *("LOAD_FAST", "STORE_FAST", "LOAD_CONST", "LOAD_SMALL_INT", "LOAD_COMMON", "LOAD_GLOBAL"),
    *("LOAD_DEREF", "POP_JUMP_FORWARD", "POP_JUMP_IF", "JUMP_FORWARD", "BUILD_", "COPY", "SWAP"),
    *("NOP", "PRECALL", "PUSH_NULL", "KW_NAMES", "IS_OP", "NOT_TAKEN"),
)
INERT = {number for name, number in dis.opmap.items() if name.startswith(_INERT)}
"""Opcodes in which the interpreter neither handles signals nor runs other Python code."""

_code: dict[int, tuple[object, bytes]] = {}


def _is_inert(frame: FrameType) -> bool:
    known = _code.get(id(frame.f_code))
    if known is None:
        known = _code[id(frame.f_code)] = frame.f_code, frame.f_code.co_code
    return known[1][frame.f_lasti] in INERT


def _is_ours(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").startswith("chaospoint")


def _trace_opcodes(frame: FrameType, step: Any) -> None:
    frame.f_trace = step  # first, or CPython 3.13 and later do so only from the next call on
    frame.f_trace_lines, frame.f_trace_opcodes = False, True


class Steps:
    """Finds the places to interrupt: each call of chaospoint's code, and each opcode in it."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        self._calls = count()

    def begin(self, frame: FrameType, event: str, _: object) -> Any:
        if not _is_ours(frame):
            return None
        call, opcodes = next(self._calls), count(1)
        self.found.append((call, 0))

        def step(frame: FrameType, event: str, _: object) -> Any:
            if event == "opcode" and not _is_inert(frame):
                self.found.append((call, next(opcodes)))
            return step

        _trace_opcodes(frame, step)
        return step


class Tracer:
    """Interrupts at one opcode of chaospoint, without tracing the opcodes of other calls."""

    def __init__(self, arrives: Any, call: int, opcode: int) -> None:
        self._arrives = arrives
        self._calls = call
        self._opcodes = opcode
        self.there = False

    def begin(self, frame: FrameType, event: str, _: object) -> Any:
        if not _is_ours(frame):
            return None
        self._calls -= 1
        if self._calls != -1:
            return None
        _trace_opcodes(frame, self.step)
        return self.step(frame, event, _)

    def step(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "call" or (event == "opcode" and not _is_inert(frame)):
            self._opcodes -= 1
            if self._opcodes == -1:  # the next opcode of this frame
                sys.settrace(_nothing)
                self.there = True
                frame.f_trace = self._arrives
                return self._arrives
        return self.step


# -- what is done -------------------------------------------------------------------------------


class Instant:
    """A clock that ends waits soon, and releases pauses."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time_in(self, _: object) -> float:
        return self.now

    def wait(self, woken: Any, seconds: float | None) -> None:
        self.now += min(seconds or 0.0, 2.0)  # so that a call waits in rounds
        if seconds is None:
            registry.release()

    async def await_(self, woken: Any, seconds: float | None) -> None:
        self.wait(woken, seconds)
        await asyncio.sleep(0)


def plain_function() -> str:
    """A function with a point."""
    return "plain"


function = point(plain_function)
plain = function.__code__


@point
async def coroutine() -> str:
    """A coroutine function with a point."""
    return "plain"


@point
def generator() -> Any:
    """A generator function with a point."""
    yield "plain"


@point
async def async_generator() -> Any:
    """An asynchronous generator function with a point."""
    yield "plain"


wrapped = point(partial(plain_function))  # its code cannot be patched


async def _items() -> None:
    async for _ in async_generator():
        pass


async def _block() -> None:
    async with point:
        pass


def _with() -> None:
    with point:
        pass


loop = asyncio.new_event_loop()


def in_loop(make: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Run a coroutine like an event loop, without interrupting the loop itself."""
    made = make()
    try:
        asyncio._set_running_loop(loop)
        while True:
            made.send(None)
    except StopIteration:
        pass
    finally:
        asyncio._set_running_loop(None)


class Frozen:
    """Be what a handle asks for a clock, and where no time passes but what is waited for."""

    timer = Instant()


def wait_for() -> None:
    """Wait for what does not happen."""
    with suppress(TimeoutError):
        Armed(Frozen(), registry.rules()).wait_for(injections=9, timeout=5)  # type: ignore[arg-type]


async def await_for() -> None:
    """Wait for what does not happen, in a task."""
    with suppress(TimeoutError):
        await Armed(Frozen(), registry.rules()).await_for(injections=9, timeout=5)  # type: ignore[arg-type]


def enter_and_leave() -> None:
    """Arm for the length of a block."""
    with chaospoint.armed("a.*", returns="chaos", times=1):
        function()


def glob() -> None:
    """Arm a glob for the length of a block, with a limit on injections."""
    with chaospoint.armed("a.*", returns="chaos", max_active=1):
        function()


def start() -> None:
    """Arm after the threads have ended, so that they must start again."""
    registry.engine.housekeeper.stop()
    registry.engine.housekeeper.resume()
    with chaospoint.armed("a.b", returns="chaos"):
        pass


def arm() -> None:
    """Arm, and disarm."""
    chaospoint.arm("a.b", returns="chaos", max_active=1)
    chaospoint.disarm()


PLANS = (
    chaospoint.Plan(rules=[{"point": "a.b", "returns": 1, "times": 1}]),
    chaospoint.Plan(rules=[{"point": "a.b", "returns": 1}, {"point": "a.*", "returns": 2}]),
    chaospoint.Plan(rules=[]),
)


def put(plan: chaospoint.Plan) -> None:
    """Replace a plan by another."""
    arming.install_plan(plan, origin=arming.Origin("file"), registry=registry, replace=True)


def reload() -> None:
    """Replace a plan by another, and end it."""
    for plan in PLANS:
        put(plan)


def switch() -> None:
    """Disable and enable chaospoint."""
    chaospoint.disable()
    chaospoint.enable()


def place() -> None:
    """Decorate a function while its point is armed, and call it."""
    point(lambda: "plain")()


def fork() -> None:
    """Fork a child that checks what is left behind in it."""
    if (child := os.fork()) == 0:
        status = 70
        try:
            if came and not raising:
                armed_again(DOING[0])  # the handler has disarmed it
            status = bool(looked(DOING[0]))
        except (Limit, Stop, KeyboardInterrupt):
            status = 0  # what arrived in the hooks was handled here
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        left["something is left in the child"] += 1


def begin_anew() -> None:
    """Do the work of a child that was forked in C and has only this thread."""
    registry.engine.housekeeper.stop()
    _fork.begin_anew()


WAITS: Any = {
    "faults": [
        {"kind": "pause"},
        {"kind": "latency", "seconds": 5},
        {"kind": "return", "value": "chaos"},
    ]
}
HOLDS: Any = {"faults": [{"kind": "pause"}, {"kind": "latency", "seconds": 5}]}
BOUNDED: Any = {"max_active": 2}

DEEDS: dict[str, tuple[Callable[[], object], list[dict[str, Any]]]] = {
    "armed": (enter_and_leave, []),
    "arm": (arm, []),
    "reload": (reload, []),
    "switch": (switch, []),
    "place": (place, [{"returns": "chaos"}]),
    "fork": (fork, [{"returns": "chaos", "max_active": 3}]),
    "begin anew": (begin_anew, [{"returns": "chaos", "max_active": 3}]),
    "function": (function, [{"returns": "chaos"}]),
    "function, bounded": (function, [{"returns": "chaos", **BOUNDED}]),
    "function, of several": (function, [{"returns": 1, **BOUNDED}, {"returns": 2, "times": 1}]),
    "function, waiting": (function, [WAITS | BOUNDED]),
    "wrapped, waiting": (wrapped, [WAITS | BOUNDED]),
    "coroutine": (partial(in_loop, coroutine), [WAITS | BOUNDED]),
    "generator": (lambda: list(generator()), [WAITS | {"returns": None} | BOUNDED]),
    "async generator": (partial(in_loop, _items), [HOLDS | BOUNDED]),
    "block": (_with, [HOLDS | BOUNDED]),
    "async block": (partial(in_loop, _block), [HOLDS | BOUNDED]),
    "statement": (lambda: point.hit(a=1), [HOLDS | BOUNDED]),
    "async statement": (lambda: in_loop(lambda: point.ahit()), [HOLDS | BOUNDED]),
}
DEEDS["wait"] = (wait_for, [{"returns": "chaos"}])
DEEDS["async wait"] = (partial(in_loop, await_for), [{"returns": "chaos"}])
DEEDS["generator"] = (lambda: list(generator()), [HOLDS | BOUNDED])
OPCODES = tuple(DEEDS)
DEEDS |= {  # only with real signals: most of what they do is in code that the others run, too
    "glob": (glob, []),
    "start": (start, []),
    "explain": (point.explain, [{"returns": "chaos", "max_active": 3}]),
    "function, by chance": (
        function,
        [{"returns": "chaos", "max_active": 3, "probability": 0.5, "seed": 1}],
    ),
}


# -- what is left behind ------------------------------------------------------------------------

left = Counter[str]()
ME = os.getpid()
DOING: list[str] = []


def looked(what: str) -> Counter[str]:
    """Return the problems that the action left behind."""
    found = Counter[str]()
    stays = DEEDS[what][1]
    engine = registry.engine
    found["the lock is held"] += lock.owned
    found["the turn to fork is held"] += _fork._forking.owned
    found["the keeper is locked"] += engine.housekeeper._lock.owned
    found["points are transparent"] += in_chaospoint.get()
    if what in ("arm", "reload", "switch"):
        chaospoint.enable()
        put(PLANS[-1])
        chaospoint.disarm()
    rules = registry.rules()
    found["rules are armed"] += len(rules) != len(stays)
    for rule in rules:
        tally: Any = rule.tally
        found["a tally is locked"] += tally._lock.owned
        if hasattr(tally, "_taken"):
            tally._take_back()
            found["a place is taken"] += len(tally._taken)
        found["somebody sleeps"] += len(rule.sleepers) + len(rule.paused) + len(rule.watchers)
    found["somebody waits for the end"] += len(ending._waiting)
    found["counts disagree"] += sum(engine._table.counts.values()) != len(rules)
    found["points disagree"] += bool(engine.points.at) != bool(stays)
    found["a change is left"] += engine._change is not None or bool(lock.requests)
    found["the code is another"] += not stays and function.__code__ is not plain
    found["no thread can start"] += threading._active_limbo_lock._is_owned()
    return +found


def looked_again(what: str, nth: int) -> Counter[str]:
    """Return the problems in using chaospoint after the action."""
    found = Counter[str]()
    handle = chaospoint.arm("a.b", returns="afresh")
    found["what is armed does not act"] += function() != "afresh"
    handle.disarm()
    for each in (registry.engine.housekeeper, registry.engine.housekeeper._expiry):
        found["a thread never starts"] += not all(one.over or one._wait(10) for one in each._starts)
    if nth % 100 == 0:
        thread = threading.Thread(target=chaospoint.disarm, args=("c.d",), daemon=True)
        thread.start()
        thread.join(10)
        found["no other thread can disarm"] += thread.is_alive()
        if what != "fork":
            fork()
    return +found


# -- one after another --------------------------------------------------------------------------


def handler(how: str) -> Callable[..., None]:
    """Return the signal handler."""
    if how in RAISED:

        def handle(*_: object) -> None:
            came.append(None)
            if os.environ.get("SHOW"):
                shown[:] = traceback.format_stack()[-4:]
            raise RAISED[how]

        return handle

    def change(*_: object) -> None:
        came.append(None)
        (chaospoint.disable if how == "disable" else chaospoint.disarm)()

    return change


came: list[None] = []
raising = True
shown: list[str] = []


def interrupted(deed: Callable[[], object], tracer: Tracer) -> bool:
    """Run the action once, interrupted; return whether the exception left it."""
    out = False
    try:
        sys.settrace(tracer.begin)
        deed()
        for _ in range(2):
            len(())  # what arrived last is handled here
    except (Limit, Stop, KeyboardInterrupt) as error:
        out = True
        if os.environ.get("SHOW"):
            shown.clear()
            shown.extend(traceback.format_tb(error.__traceback__)[-5:])
    except (NotPermitted, ChildProcessError):
        pass
    except Exception as error:  # pydantic wraps what is raised within it
        if "Limit" not in repr(error):
            raise
        out = True
    finally:
        if os.getpid() != ME:
            os._exit(0)  # what arrived in the hooks was handled where a child begins
        sys.settrace(_nothing)
        asyncio._set_running_loop(None)
    return out


def armed_again(what: str) -> None:
    """Arm the rules that stay armed during the action."""
    if len(registry.rules()) != len(DEEDS[what][1]) or not registry.enabled:
        chaospoint.enable()
        chaospoint.disarm()
        for keys in DEEDS[what][1]:
            chaospoint.arm("a.b", **keys)


def steps(deed: Callable[[], object]) -> list[tuple[int, int]]:
    """Return the places to interrupt."""
    tracer = Steps()
    sys.settrace(tracer.begin)
    deed()
    sys.settrace(_nothing)
    return tracer.found


def interrupt(what: str, how: str, tries: int) -> Counter[str]:
    """Interrupt one action, and return the problems."""
    DOING[:] = [what]
    deed, found, arrival = DEEDS[what][0], Counter[str](), _arrival(how)
    for _ in range(3):
        armed_again(what)
        where = steps(deed)  # CPython 3.12 traces opcodes from the second time on
    step = max(1, len(where) // tries) if tries else 1
    for at in where[sys.version_info.minor % step :: step]:
        armed_again(what)
        came.clear()
        elsewhere.clear()
        tracer = Tracer(arrival, *at)
        out = copy_context().run(interrupted, deed, tracer)
        if not tracer.there:
            continue  # this time it took another way
        found["tries"] += 1
        if how in ("BaseException", "KeyboardInterrupt", "SetAsyncExc") and what != "fork":
            found["it was swallowed"] += not out and not elsewhere
            if not out and not elsewhere and os.environ.get("SHOW"):
                print(what, at, "swallowed", *shown, file=sys.stderr)
        if not raising:
            found["the handler was not called"] += not came
            if how == "disable" and what != "switch":
                found["disabling has no effect"] += registry.enabled
            armed_again(what)
        now = looked(what)
        if found["tries"] % 25 == 0:
            now.update(looked_again(what, found["tries"]))
        if now and os.environ.get("SHOW"):
            print(what, at, dict(now), *shown, file=sys.stderr)
        found.update(now)
    armed_again(what)
    found.update(looked_again(what, 0))
    chaospoint.enable()
    chaospoint.disarm()
    found["the code is not restored"] += function.__code__ is not plain or function() != "plain"
    return found


def repeat(deed: Callable[[], object]) -> None:
    """Repeat the action; in a function: no exception table covers the jump of a loop."""
    while not came:
        deed()


def signalled(what: str, seconds: float) -> Counter[str]:
    """Send real signals for so many seconds, and return the problems."""
    DOING[:] = [what]
    armed_again(what)
    DEEDS[what][0]()  # so that the imports which it begins are over
    found, chance, until = Counter[str](), random.Random(what), time.monotonic() + seconds
    while time.monotonic() < until:
        armed_again(what)
        came.clear()
        elsewhere.clear()
        try:
            longest = 4e-3 if what in ("fork", "begin anew", "start") else 9e-4
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(2e-5, longest))
            copy_context().run(repeat, DEEDS[what][0])
            found["it was swallowed"] += what != "fork" and not elsewhere
        except Stop:
            pass
        finally:
            if os.getpid() != ME:
                os._exit(0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            asyncio._set_running_loop(None)
        found["tries"] += 1
        now = looked(what)
        if found["tries"] % 20 == 0:
            now.update(looked_again(what, found["tries"]))
        found.update(now)
    chaospoint.enable()
    chaospoint.disarm()
    found["the code is not restored"] += function.__code__ is not plain or function() != "plain"
    return found


def once(*_: object) -> None:
    """Handle real signals; raise once."""
    if not came:
        came.append(None)
        raise Stop


def main(how: str, tries: str = "0", *whats: str) -> int:
    """Return whether there were problems."""
    global raising
    signal.signal(signal.SIGALRM, once)
    raising = how in (*RAISED, "SetAsyncExc", "signals")
    registry.engine.clock = Instant()
    signal.signal(signal.SIGINT, handler(how if how != "signals" else "BaseException"))
    failed = False
    whats = whats or (tuple(DEEDS) if how == "signals" else OPCODES)
    for what in whats:
        if how == "signals":
            found = signalled(what, float(tries) / len(whats))
        else:
            found = interrupt(what, how, int(tries))
        print(json.dumps({"what": what, "how": how, **+found}), flush=True)
        failed = failed or set(+found) != {"tries"}
    found = +left
    if found or bugs:
        print(dict(found), list(bugs))
    return failed or bool(found or bugs)


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
