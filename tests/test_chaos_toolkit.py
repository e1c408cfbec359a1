"""Chaos Toolkit arms points by its python provider, which calls functions by keyword."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

import chaospoint
from chaospoint import Plan, Rule
from chaospoint.testing import Chaos


@chaospoint.point("toolkit.charge")
def charge() -> str:
    return "paid"


def step(kind: str, name: str, module: str, func: str, **arguments: object) -> dict[str, Any]:
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments}
    return {"type": kind, "name": name, "provider": provider}


@pytest.mark.filterwarnings("ignore")
def test_an_experiment_arms_and_disarms(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = pytest.importorskip("chaoslib.experiment")
    shop = ModuleType("toolkit_shop")
    shop.charge = charge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toolkit_shop", shop)
    arguments = {"point": "toolkit.charge", "returns": "late", "times": 1}
    described = {
        "title": "the bank is late",
        "description": "one answer is replaced",
        "method": [
            step("action", "arm", "chaospoint", "arm", **arguments),
            step("probe", "first", "toolkit_shop", "charge"),
            step("probe", "second", "toolkit_shop", "charge"),
        ],
        "rollbacks": [step("action", "end", "chaospoint", "disarm", pattern="toolkit.charge")],
    }
    experiment.ensure_experiment_is_valid(described)
    journal = experiment.run_experiment(described)
    assert journal["status"] == "completed"
    told = [(run["activity"]["name"], run["status"], run["output"]) for run in journal["run"]]
    assert told[1:] == [("first", "succeeded", "late"), ("second", "succeeded", "paid")]
    assert told[0][:2] == ("arm", "succeeded")
    assert journal["rollbacks"][0]["output"] == 1
    assert not chaospoint.point("toolkit.charge").armed


def test_whatever_is_armed_may_be_given_by_keyword() -> None:
    keys: dict[str, Any] = {"returns": "late"}
    rule = Rule(point="toolkit.charge", **keys)
    for arguments in (
        {"point": "toolkit.charge", **keys},
        {"point": chaospoint.point("toolkit.charge"), **keys},
        {"point": rule},
        {"point": Plan(rules=[rule])},
    ):
        chaospoint.arm(**arguments)
        assert charge() == "late"
        assert chaospoint.disarm(pattern="toolkit.charge") == 1
        with chaospoint.armed(**arguments):
            assert charge() == "late"
        with Chaos() as chaos:
            chaos.arm(**arguments)
            assert charge() == "late"
        with Chaos() as chaos, chaos.armed(**arguments):
            assert charge() == "late"
    with pytest.raises(TypeError, match="multiple values for argument 'point'"):
        chaospoint.arm("toolkit.charge", point="toolkit.charge", returns=1)  # type: ignore[misc]
