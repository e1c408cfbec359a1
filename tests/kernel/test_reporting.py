"""Remarks: the warning points at the line that armed."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import FunctionType

import pytest

import chaospoint
from chaospoint import Registry
from chaospoint._kernel import reporting
from chaospoint.errors import ChaosWarning

from .kit import Does, rule

PASS = Does("off", ())


def where(call: FunctionType) -> tuple[str, int]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    (one,) = caught
    assert one.category is ChaosWarning
    return one.filename, one.lineno


def test_it_belongs_to_the_line_that_armed(registry: Registry) -> None:
    def public() -> None:
        chaospoint.arm("nobody", latency=1, registry=registry)

    def kernel() -> None:
        registry.install([rule("nobody", PASS)], source="code")

    def block() -> None:
        with chaospoint.armed("nobody", latency=1, registry=registry):
            pass

    for call in (public, kernel, block):
        assert where(call) == (__file__, call.__code__.co_firstlineno + 1)


def test_a_package_whose_name_begins_like_chaospoint_belongs_to_the_program() -> None:
    beside = str(Path(reporting.__file__).parents[1]) + "_extras/conf.py"
    space = {"remark": reporting.warn}
    exec(compile("def call():\n    remark('text', 'code')\n", beside, "exec"), space)
    assert where(space["call"]) == (beside, 2)


@pytest.mark.parametrize("source", ["http", "env", "file", "store"])
def test_problems_of_rules_from_outside_are_logged(
    source: str, log: pytest.LogCaptureFixture
) -> None:
    reporting.warn("text", source)
    (one,) = log.records
    assert (one.levelname, one.getMessage()) == ("WARNING", f"text (armed by {source})")
