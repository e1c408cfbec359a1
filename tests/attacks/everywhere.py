"""A program that puts a point on what chaospoint itself may use, and looks what comes of it.

``count``: each of them carries a point in turn, and what an injection, an expiry and a thread of
ours do is no reach of it.  ``hang``: all of them hang at once, and rules end at their deadlines.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from types import FunctionType
from typing import Any

import chaospoint
from chaospoint.plan.compiling import compile_plan

FUNCTIONS = """
threading:Event.wait threading:Event.set threading:Event.is_set threading:Event.clear
threading:Condition.wait threading:Condition.wait_for threading:Condition.notify
threading:Condition.notify_all threading:Condition.__enter__ threading:Condition.__exit__
threading:Semaphore.acquire threading:Semaphore.release threading:Barrier.wait
threading:Thread.start threading:Thread.join threading:Thread.is_alive threading:Thread.run
threading:Thread.__init__ threading:Thread._bootstrap threading:Thread._bootstrap_inner
threading:current_thread threading:main_thread threading:enumerate queue:Queue.get queue:Queue.put
logging:Logger.log logging:Logger.info logging:Logger.warning logging:Logger.error
logging:Logger._log logging:Logger.isEnabledFor logging:Logger.handle logging:Logger.callHandlers
logging:Handler.acquire logging:Handler.release logging:Handler.handle logging:StreamHandler.emit
logging:Formatter.format logging:LogRecord.getMessage contextlib:ExitStack.__exit__
contextlib:suppress.__exit__ weakref:WeakSet.add weakref:WeakSet.__iter__
concurrent.futures:Future.result concurrent.futures:Future.set_result
asyncio.base_events:BaseEventLoop.time asyncio.base_events:BaseEventLoop.call_later
asyncio.base_events:BaseEventLoop.call_soon_threadsafe
asyncio.base_events:BaseEventLoop.create_future selectors:EpollSelector.select
selectors:SelectSelector.select socket:socket.accept socket:socketpair socket:create_connection
json:dumps json:loads random:Random.uniform traceback:format_exception os.path:realpath copy:copy
copy:deepcopy
"""
OTHERS = """
builtins:len builtins:min builtins:max builtins:sorted builtins:isinstance builtins:issubclass
builtins:next builtins:iter builtins:any builtins:all builtins:sum builtins:getattr
builtins:setattr builtins:hasattr builtins:id builtins:repr builtins:hash builtins:abs
builtins:callable builtins:print builtins:format builtins:vars time:sleep
time:monotonic time:time time:perf_counter time:monotonic_ns time:time_ns time:clock_gettime
threading:get_ident threading:Lock threading:RLock threading:local threading:_start_new_thread
threading:_start_joinable_thread threading:_allocate_lock _thread:allocate_lock _thread:get_ident
_thread:start_new_thread _thread:start_joinable_thread select:select select:poll select:epoll
os:getpid os:stat os:fstat os:read os:write os:urandom os:open os:close os:utime sys:exception
sys:_getframe sys:exc_info contextvars:copy_context contextvars:ContextVar operator:attrgetter
functools:partial itertools:count itertools:islice collections:deque signal:getsignal
random:random
"""

WHERE = [*FUNCTIONS.split(), *OTHERS.split()]
clock, nap, MONOTONIC = time.clock_gettime, time.sleep, time.CLOCK_MONOTONIC
show, end = print, os._exit


class Observer:
    """Makes the default observers not the only ones."""

    def observe(self, injection: object) -> None:
        """Take note of nothing."""

    def notice(self, notice: object) -> None:
        """Take note of nothing."""


chaospoint.point("bank.pay")


@chaospoint.point("bank.charge")
def charge() -> str:
    """Charge."""
    return "paid"


REGISTRY = chaospoint.Registry.default()
SHORT = compile_plan(
    chaospoint.Plan(rules=["bank.pay=latency(0) [expires_after=20ms]"]), trust="code"
)


def found(path: str) -> tuple[Any, str, Any] | None:
    """Return where a function is, if this version of Python has it."""
    module, _, name = path.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, last = name.split(".")
    for one in outer:
        owner = getattr(owner, one, None)
    return (owner, last, vars(owner)[last]) if owner and last in vars(owner) else None


def name_of(path: str) -> str:
    """Return the name of the point on a function."""
    return "std." + path.rpartition(":")[2].lower().replace(".", "-")


def put(path: str) -> tuple[Any, str, Any]:
    """Put a point on a function; return what undoes that."""
    there = found(path)
    assert there is not None
    owner, last, was = there
    point = chaospoint.point(name_of(path))
    if isinstance(was, FunctionType):
        point(was)
    else:
        setattr(owner, last, point(was))
    return there


def expired(rules: Any) -> float:
    """Wait until a rule has expired; return how late that was."""
    rule = rules[0]
    until = clock(MONOTONIC) + 30
    while rule.why is None:
        assert clock(MONOTONIC) < until, "it does not expire"
        nap(0.002)
    late: float = clock(MONOTONIC) - rule.deadline
    return late


def count() -> None:
    """Print the functions that were reached, and how often."""
    for path in WHERE:
        if (there := found(path)) is None:
            continue
        armed = chaospoint.arm("bank.charge", latency=0.002)
        put(path)
        on = chaospoint.arm(name_of(path), latency=0)
        charge()
        charge()
        expired(REGISTRY.install(SHORT, source="code").rules)
        reaches, injections = on.reaches, armed.injections
        on.disarm()
        armed.disarm()
        if not isinstance(there[2], FunctionType):
            setattr(*there)
        if reaches or injections != 2:
            show(path, reaches, injections, flush=True)
    show("counted", flush=True)


def hang() -> None:
    """Print how late rules expire while everything hangs."""
    expired(chaospoint.arm("bank.pay", latency=0, expires_after=0.02).rules)  # all is imported
    there = [put(path) for path in WHERE if found(path)]
    armed = chaospoint.arm("bank.charge", latency=0, expires_after=0.3)
    hung = chaospoint.arm("std.*", hang=True, expires_after=0.4)
    late = expired(armed.rules), expired(hung.rules)
    for owner, last, was in there:
        if not isinstance(was, FunctionType):
            setattr(owner, last, was)
    show(max(late), flush=True)


logging.basicConfig(stream=open(os.devnull, "w"), level=logging.DEBUG)  # noqa: SIM115
REGISTRY.add_observer(Observer())
{"count": count, "hang": hang}[sys.argv[1]]()
end(0)
