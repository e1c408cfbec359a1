"""Law 12. Importing does nothing: it loads little, reads one variable at most, starts nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers import python

PROGRAM = """
    import json, os, sys, threading

    read = []

    class Noting(type(os.environ)):
        def __getitem__(self, key):
            read.append(key)
            return super().__getitem__(key)

    os.environ.__class__ = Noting
    before = set(sys.modules)

    import chaospoint
    {more}

    print(json.dumps({{
        "modules": sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}),
        "ours": sorted(name for name in sys.modules if name.startswith("chaospoint")),
        "threads": threading.active_count(),
        "read": sorted({{key for key in read if key.startswith("CHAOSPOINT")}}),
    }}))
"""

PLACING = """
    @chaospoint.point("payment.charge")
    def charge():
        return 7

    @chaospoint.point("payment.refund")
    async def refund():
        return 7

    with chaospoint.point("db.query"):
        chaospoint.point("queue.publish", labels={"tenant": 1}).hit()
    assert charge() == 7
"""

HEAVY = {"pydantic", "prometheus_client", "opentelemetry", "wrapt", "asyncio"}


def _after(more: str, **variables: str) -> Any:
    return json.loads(python(PROGRAM.format(more=more), **variables).stdout)


@pytest.mark.parametrize("more", ["", PLACING], ids=["import", "place"])
def test_law_12_importing_does_nothing(more: str) -> None:
    """Neither importing nor placing points loads a heavy module or starts a thread."""
    after = _after(more, CHAOSPOINT_POINTS="nonsense", CHAOSPOINT_ADMIN="true")
    assert HEAVY.intersection(after["modules"]) == set()
    assert after["threads"] == 1
    assert set(after["read"]) <= {"CHAOSPOINT_ENABLED"}


def test_law_12_importing_loads_a_handful_of_our_modules() -> None:
    """What only arming needs is not even read from the disk."""
    ours = _after("")["ours"]
    assert "chaospoint._registry.engine" not in ours
    assert "chaospoint._kernel.drive" not in ours
    assert len(ours) <= 16


@pytest.mark.parametrize("value", ["false", "no", "off", "0", "", "  "])
def test_law_12_a_no_starts_nothing(value: str) -> None:
    """Where the switch says no, the first point starts nothing, whatever else is set."""
    after = _after(
        PLACING,
        CHAOSPOINT_ENABLED=value,
        CHAOSPOINT_POINTS='[{"point": "*", "exception": "TimeoutError"}]',
        CHAOSPOINT_ADMIN="127.0.0.1:0",
    )
    assert HEAVY.intersection(after["modules"]) == set()
    assert after["threads"] == 1


def test_law_12_arming_loads_what_it_needs() -> None:
    """The counter-test: arming loads the heavy modules, or the above says nothing."""
    after = _after('chaospoint.point("a.b"); chaospoint.arm("a.b", latency=0)')
    assert {"pydantic", "prometheus_client", "opentelemetry", "asyncio"} <= set(after["modules"])
    assert after["threads"] == 2
