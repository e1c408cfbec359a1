"""Measure other libraries, each used as its documentation says, against an undecorated call.

Each has up to three states: *off* is its state in production, *on* is enabled without firing (one
call in 10,000 for chaospoint), and *fires* means at every call.  The rows have no limits, and they
do not say what each library offers for its cost.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial, wraps
from random import random
from typing import Any
from unittest.mock import patch

import chaospoint
from benchmarks.armed import RARELY
from benchmarks.budget import Budget
from benchmarks.budget import Kind as Of
from benchmarks.kinds import FUNCTION, KINDS, Kind, bare
from benchmarks.loops import UNROLLED
from benchmarks.measure import Effort, Part, Trio, sample
from benchmarks.row import Row
from benchmarks.sidecar import sidecar

__all__ = ["FIRES", "GROUP", "OFF", "ON", "OURS", "PASSES", "rows"]

GROUP = "beside others"
OURS = "chaospoint"
OFF, ON, FIRES, PASSES = "off", "on", "fires", "passing through"

_METHOD = next(kind for kind in KINDS if kind.name == "method")
_RATES = {OFF: 0.0, ON: 0.0, FIRES: 1.0}

Make = Callable[[str, ExitStack], Any]
"""Returns the callable in the given state; the stack undoes the state."""


def rows() -> Iterator[Row]:
    """Yield the rows."""
    for name, make in _PEERS.items():
        for state in (OFF, ON, FIRES):
            yield _row(name, state, make)
    yield _row("functools.wraps", PASSES, _wraps)
    yield _row("wrapt.decorator", PASSES, _wrapt)


def _row(name: str, state: str, make: Make) -> Row:
    sampler = partial(_sample, name.startswith("failureflags"), state, make)
    return Row(GROUP, f"{name}, {state}", Budget(Of.RATIO), sampler)


def _sample(asks: bool, state: str, make: Make, effort: Effort) -> tuple[Part, ...]:
    def build(stack: ExitStack) -> Trio:
        it = make(state, stack)
        kind = FUNCTION if callable(it) else _METHOD
        _check(it if callable(it) else it.method, fires=state == FIRES)
        base, control = (kind.loop(kind.make(bare)) for _ in range(2))
        statement = f"try: {kind.statement}\nexcept Exception: pass"
        ours = replace(
            kind,
            statement=statement if state == FIRES else kind.statement,
            unrolled=1 if asks and state != OFF else UNROLLED,
        )
        return Trio(ours.loop(it), base, control)

    return sample(build, replace(effort, builds=effort.few(3, 8), rounds=effort.few(15, 40)))


def _check(call: Callable[[], object], *, fires: bool) -> None:
    try:
        outcome = call()
    except Exception as error:
        outcome = error
    if (outcome != 7) is not fires:
        raise RuntimeError(f"the call gave {outcome!r}, which does not fit the state")


def _hold(source: str, names: Mapping[str, object]) -> Any:
    """Return a function with the peer's statement in its body."""
    return Kind("peer", f"def it():\n{source}    return 7\n", "it()").make(bare, names)


def _ours(state: str, stack: ExitStack) -> Any:
    registry = chaospoint.Registry()
    it = FUNCTION.make(registry.point("bench.point"))
    keys: dict[str, Any] = {ON: {"returns": 7, "probability": RARELY}}.get(
        state, {"exception": TimeoutError}
    )
    if state != OFF:
        stack.enter_context(chaospoint.armed("bench.point", registry=registry, **keys))
    return it


_CONFIGS: dict[str, dict[str, Any]] = {}


def _tutorial(state: str, _: ExitStack) -> Any:
    def chaos(name: str) -> Callable[[Any], Any]:
        def decorate(function: Callable[..., object]) -> Callable[..., object]:
            @wraps(function)
            def wrapper(*args: object, **kwargs: object) -> object:
                config = _CONFIGS.get(name)
                if config and config["enabled"] and random() < config["rate"]:
                    raise config["exception"]("injected")
                return function(*args, **kwargs)

            return wrapper

        return decorate

    rate = _RATES[state]
    _CONFIGS[state] = {"enabled": state != OFF, "rate": rate, "exception": TimeoutError}
    return FUNCTION.make(chaos(state))


def _fault_injection(state: str, _: ExitStack) -> Any:
    from fault_injection import raise_random

    return FUNCTION.make(raise_random(prob_of_raise=_RATES[state], disable=state == OFF))


def _chaosinjector(state: str, _: ExitStack) -> Any:
    from chaosinjector import ChaosInjector

    it = _METHOD.make(bare)
    if state != OFF:  # it has no switch: off is an untouched object
        ChaosInjector.inject(it, probability=1.0 - _RATES[state])
    return it


def _mcp_chaos_monkey(state: str, stack: ExitStack) -> Any:
    if state == OFF:
        return FUNCTION.make(bare)  # it refuses to run in production, where a client stays as it is
    stack.enter_context(patch.dict(os.environ, {"CHAOS_ENABLED": "true"}))
    from mcp_chaos_monkey import ChaosController, ErrorFault, configure_chaos_logger

    configure_chaos_logger(lambda _: logging.getLogger("benchmarks.silent"))
    logging.getLogger("benchmarks.silent").setLevel(logging.CRITICAL)
    stack.callback(ChaosController.reset)
    fault = ErrorFault(status_code=503, probability=0.0 if state == ON else None)
    ChaosController.get_instance().inject("bench", fault)
    # Its interceptors of HTTP and Redis do this at each request.
    source = """
    fault = ChaosController.get_instance().get_fault("bench")
    if fault is not None:
        raise TimeoutError
"""
    return _hold(source, {"ChaosController": ChaosController})


def _chaos_agents(state: str, _: ExitStack) -> Any:
    from chaos_agents import ChaosMonkey

    monkey = ChaosMonkey(errors=_RATES[state], enabled=state != OFF)
    return FUNCTION.make(monkey.wrap)


def _buggify(state: str, stack: ExitStack) -> Any:
    from ordeal.buggify import activate, buggify, deactivate

    if state == OFF:
        deactivate()
    else:
        activate(probability=_RATES[state])
        stack.callback(deactivate)
    return _hold("    if buggify():\n        raise TimeoutError\n", {"buggify": buggify})


def _failureflags(state: str, stack: ExitStack) -> Any:
    from failureflags import FailureFlag

    experiments = [{"rate": 1, "effect": {"exception": "injected"}}] if state == FIRES else []
    enabled = {"FAILURE_FLAGS_ENABLED": str(state != OFF).lower()}
    stack.enter_context(patch.dict(os.environ, enabled))
    url = stack.enter_context(sidecar(json.dumps(experiments))) if state != OFF else None
    # Its own deadline is a millisecond, which a busy machine would exceed.
    flag = FailureFlag("bench", {}, endpoint=url, timeout=5.0)
    it = _hold("    invoke()\n", {"invoke": flag.invoke})
    if state != OFF and flag.fetch() != experiments:
        raise RuntimeError("the sidecar did not answer with the experiments")
    return it


def _wraps(_state: str, _: ExitStack) -> Any:
    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        @wraps(function)
        def wrapper(*args: object, **kwargs: object) -> object:
            return function(*args, **kwargs)

        return wrapper

    return FUNCTION.make(decorate)


def _wrapt(_state: str, _: ExitStack) -> Any:
    import wrapt

    @wrapt.decorator
    def decorate(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
        return wrapped(*args, **kwargs)

    return FUNCTION.make(decorate)


_PEERS: dict[str, Make] = {
    OURS: _ours,
    "a decorator as in tutorials": _tutorial,
    "fault-injection": _fault_injection,
    "chaosinjector (a method)": _chaosinjector,
    "mcp-chaos-monkey": _mcp_chaos_monkey,
    "chaos-agents": _chaos_agents,
    "ordeal buggify": _buggify,
    "failureflags": _failureflags,
}
