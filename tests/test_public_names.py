"""The public list is short, sorted and pinned."""

from __future__ import annotations

import chaospoint
from chaospoint import errors, faults, testing


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
