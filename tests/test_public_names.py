"""The public list is short, sorted and pinned."""

from __future__ import annotations

import pydoc
from typing import get_type_hints

import chaospoint
from chaospoint import errors, faults, testing
from chaospoint.plan.rule import Keys


def test_the_public_names_are_these_and_no_others() -> None:
    assert chaospoint.__all__ == [
        "Armed",
        "ChaosError",
        "InjectedFault",
        "Injection",
        "Plan",
        "Point",
        "Registry",
        "Rule",
        "arm",
        "armed",
        "disable",
        "disarm",
        "enable",
        "injection_of",
        "point",
        "start",
        "stop",
    ]
    assert chaospoint.__all__ == sorted(chaospoint.__all__)


def test_every_public_name_is_there() -> None:
    for name in chaospoint.__all__:
        assert getattr(chaospoint, name).__doc__, name
        assert name in dir(chaospoint)
    assert chaospoint.__version__.count(".") == 2


def test_tools_can_read_the_hints_of_every_public_function() -> None:
    for name in chaospoint.__all__:
        function = getattr(chaospoint, name)
        if not isinstance(function, type):
            assert get_type_hints(function), name
    assert get_type_hints(chaospoint.armed.__init__)["registry"] == chaospoint.Registry | None
    assert get_type_hints(chaospoint.arm)["return"] is chaospoint.Armed


def test_help_lists_every_key_of_a_rule() -> None:
    text = pydoc.plain(pydoc.render_doc(chaospoint.arm))
    assert [key for key in Keys.__annotations__ if f"``{key}``" not in text] == []


def test_public_classes_are_known_by_their_public_names() -> None:
    for name in ("Armed", "Point", "Registry", "armed"):
        assert getattr(chaospoint, name).__module__ == "chaospoint"


def test_errors_faults_and_test_helpers_are_where_they_are_looked_for() -> None:
    assert errors.__all__ == [
        "ChaosError",
        "ChaosWarning",
        "InjectedFault",
        "InvalidPlan",
        "InvalidPoint",
        "LimitExceeded",
        "NotPermitted",
        "StoreBusy",
        "StoreError",
        "UnknownPoint",
        "UnsupportedFault",
    ]
    assert {"Failure", "Hang", "Latency", "Return"} <= set(faults.__all__)
    assert testing.__all__ == [
        "Chaos",
        "Exploration",
        "FakeClock",
        "FaultCoverage",
        "SkippingClock",
        "explore",
        "fault_coverage",
        "plans",
        "rules",
    ]
