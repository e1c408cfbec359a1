"""Kinds of faults that installed packages add; ``packages/`` holds two as they lie installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import PLACES, Witness, finish, place, python

from chaospoint import Plan, Registry, Rule
from chaospoint.arming import Origin, install_plan
from chaospoint.control.http import Request
from chaospoint.control.service import Service
from chaospoint.errors import InvalidPlan
from chaospoint.faults import kinds
from chaospoint.plan import load_plan
from chaospoint.sources.settings import Settings

PACKAGES = Path(__file__).with_name("packages")
OWN = ("brownout", "broken")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have both packages installed, for the length of a test."""
    _forget()
    for name in OWN:
        monkeypatch.syspath_prepend(PACKAGES / name)
    yield
    for name in OWN:
        sys.modules.pop(name, None)
    _forget()


def _forget() -> None:
    kinds._added.cache_clear()
    kinds._loaded.cache_clear()


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    yield made
    made.disarm()


FAULT = {"kind": "brownout", "seconds": 0.001, "share": 1.0}


def by_code(registry: Registry, folder: Path) -> None:
    rule = Rule(point="bank.*", faults=[FAULT])
    install_plan(Plan(rules=[rule]), origin=Origin("code"), registry=registry)


def by_text(registry: Registry, folder: Path) -> None:
    text = 'bank.*=brownout({"seconds": "1ms", "share": 1.0})'
    install_plan(Plan.parse(text), origin=Origin("env"), registry=registry)


def by_file(registry: Registry, folder: Path) -> None:
    (folder / "plan.yaml").write_text(
        "rules: [{point: bank.*, faults: [{kind: brownout, seconds: 1ms, share: 1.0}]}]"
    )
    plan = load_plan(folder / "plan.yaml")
    install_plan(plan, origin=Origin("file"), registry=registry)


def by_text_in_a_file(registry: Registry, folder: Path) -> None:
    (folder / "plan.toml").write_text(
        '[[rules]]\npoint = "bank.*"\nrule = \'brownout({"seconds": "1ms", "share": 1.0})\'\n'
    )
    plan = load_plan(folder / "plan.toml")
    install_plan(plan, origin=Origin("file"), registry=registry)


def by_http(registry: Registry, folder: Path, body: object = None) -> None:
    sent = json.dumps(body or {"faults": [FAULT]}).encode()
    headers = {
        "host": "127.0.0.1:8475",
        "content-type": "application/json",
        "content-length": str(len(sent)),
    }
    request = Request("PUT", "/v1/points/bank.charge", headers, sent, "127.0.0.1")
    answer = Service.of(Settings(enabled=True), registry).answer(request)
    assert answer.status == 200, answer.body


by_text_over_http = partial(by_http, body={"rule": 'brownout({"seconds": 0.001, "share": 1.0})'})

WAYS = {
    "code": by_code,
    "text": by_text,
    "file": by_file,
    "text in a file": by_text_in_a_file,
    "http": by_http,
    "text over http": by_text_over_http,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", PLACES)
def test_it_acts_at_every_placement_however_it_was_armed(
    kind: str, way: str, registry: Registry, tmp_path: Path
) -> None:
    call = place(registry.point("bank.charge"), kind)
    witness = Witness()
    registry.add_observer(witness)
    WAYS[way](registry, tmp_path)
    with pytest.raises(Exception, match=r"^gave up after 0\.001 s") as raised:
        finish(call())
    assert type(raised.value).__name__ == "Overloaded"
    [injection] = witness.injections
    assert (injection.fault, injection.latency) == ("brownout", 0.001)
    assert injection.exception == "Overloaded"
    registry.disarm()
    assert finish(call()) == 7


def test_it_draws_as_the_other_kinds_do(registry: Registry) -> None:
    point = registry.point("bank.charge")

    def failing() -> list[int]:
        rule = Rule(point="bank.charge", faults=[{"kind": "brownout", "seconds": 0}], seed=7)
        handle = install_plan(Plan(rules=[rule]), origin=Origin("code"), registry=registry)
        found = []
        for nth in range(40):
            try:
                point.hit()
            except Exception:
                found.append(nth)
        handle.disarm()
        return found

    assert failing() == failing()
    assert 8 < len(failing()) < 32


def test_it_is_written_as_it_is_read() -> None:
    rule = Rule(point="bank.charge", faults=[FAULT], times=2)
    assert str(rule) == 'bank.charge=2*brownout({"seconds": 0.001, "share": 1.0})'
    assert Rule.parse(str(rule)) == rule
    assert str(Rule.parse("bank.charge=brownout")) == "bank.charge=brownout"


def test_it_is_loaded_when_a_rule_first_names_it() -> None:
    Rule.parse("bank.charge=latency(1)")
    assert "brownout" not in sys.modules
    Rule.parse("bank.charge=brownout")
    assert "brownout" in sys.modules


BAD = [
    ("brownuot", "did you mean 'brownout'?"),
    ("absent", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
    ("leaving", "cannot be loaded: SystemExit: 3"),
    ("plain", "broken:Plain is not a subclass of chaospoint.faults.FaultModel"),
    ("misnamed", "broken:Misnamed has the kind 'other'"),
    ("bursting", "ZeroDivisionError('a bug of its own')"),
    ("talking", "'boom'"),
    ('brownout({"seconds": "soon"})', "seconds"),
    ('brownout({"secnods": 1})', "did you mean 'seconds'?"),
    ('brownout({"share": "much"})', "share"),
    ("brownout(1, 2)", "too many arguments"),
    ("brownout(0.5)", 'write brownout({"seconds": ..., "share": ...})'),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[text for text, _ in BAD])
def test_what_is_wrong_with_one_is_said(text: str, said: str, registry: Registry) -> None:
    with pytest.raises(InvalidPlan) as refused:
        install_plan(Plan.parse(f"bank.charge={text}"), origin=Origin("code"), registry=registry)
    assert said in str(refused.value)
    assert registry.rules() == ()


def test_the_names_of_chaospoints_own_kinds_are_its_own() -> None:
    assert str(Rule.parse("bank.charge=latency(1)")) == "bank.charge=latency(1s)"


def test_a_whole_program_gets_it_from_its_environment() -> None:
    done: Any = python(
        """
        import chaospoint

        @chaospoint.point("bank.charge")
        def charge():
            return "charged"

        try:
            charge()
        except Exception as error:
            print(type(error).__module__, type(error).__name__)
        """,
        CHAOSPOINT_ENABLED="true",
        CHAOSPOINT_POINTS='bank.charge=brownout({"seconds": 0, "share": 1})',
        PYTHONPATH=":".join([str(PACKAGES / "brownout"), *filter(None, sys.path)]),
    )
    assert done.stdout == "brownout Overloaded\n"
