"""Kinds of faults that installed packages add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import Literal

import pytest

from chaospoint._kernel.chance import Draws
from chaospoint._kernel.effects import Effect, Sleep
from chaospoint.errors import InvalidPlan
from chaospoint.faults import FaultModel, Hang, kinds
from chaospoint.plan import Plan, Rule


class Drowsy(FaultModel):
    kind: Literal["drowsy"] = "drowsy"
    naps: int = 1

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        return (Sleep(float(self.naps)),)


class Strict(FaultModel):
    """Builds itself by its constructor, as a stranger would."""

    kind: Literal["strict"] = "strict"

    @classmethod
    def from_text(cls, arguments: object) -> Strict:
        return cls(naps=3)  # type: ignore[call-arg]


Installs = Callable[..., None]


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installs]:
    """Make packages look installed: kinds by name, each with where it is found."""

    def install(**found: str) -> None:
        entries = [EntryPoint(name, where, "chaospoint.faults") for name, where in found.items()]
        monkeypatch.setattr(kinds, "entry_points", lambda group: entries)
        kinds._added.cache_clear()

    yield install
    monkeypatch.undo()
    kinds._added.cache_clear()


def test_an_added_kind_stands_wherever_faults_do(installs: Installs) -> None:
    installs(drowsy=f"{__name__}:Drowsy")
    rule = Rule(point="a", faults=[{"kind": "drowsy", "naps": 3}])
    assert rule.faults == (Drowsy(naps=3),)
    assert str(rule) == 'a=drowsy({"naps": 3})'
    assert Rule.parse('a = drowsy( {"naps": 3} )') == rule
    assert str(Rule.parse("a=drowsy")) == "a=drowsy"
    assert rule.faults[0].effects(Draws(1, 1)) == (Sleep(3.0),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=drowsi", "column 3: 'drowsi': not a known action; did you mean 'drowsy'?"),
        ("a=drowsy(3)", "column 3: 'drowsy': takes its fields as one JSON object; write drowsy({"),
        (
            "a=drowsy({}, 1)",
            "column 12: 'drowsy': has too many arguments; write drowsy({\"naps\": ",
        ),
        ('a=drowsy({"nap": 1})', "column 3: 'drowsy': nap=1: unknown key; did you mean 'naps'?"),
        ("a=strict", "column 3: 'strict': Strict: naps=3: unknown key; the only key is 'kind'"),
    ],
)
def test_its_mistakes_are_shown_as_ours_are(installs: Installs, text: str, words: str) -> None:
    installs(drowsy=f"{__name__}:Drowsy", strict=f"{__name__}:Strict")
    with pytest.raises(InvalidPlan) as caught:
        Plan.parse(text)
    assert str(caught.value).startswith(f"plan: {words}")


@pytest.mark.parametrize(
    ("name", "where", "problem"),
    [
        (
            "gone",
            "chaos_nowhere:Gone",
            "its package cannot be loaded: ModuleNotFoundError: No modu",
        ),
        ("absent", f"{__name__}:Absent", "its package cannot be loaded: AttributeError: "),
        (
            "draws",
            "chaospoint._kernel.chance:Draws",
            "chaospoint._kernel.chance:Draws is not a subclass of chaospoint.",
        ),
        (
            "sleepy",
            f"{__name__}:Drowsy",
            f"{__name__}:Drowsy has the kind 'drowsy'; correct or remove the pack",
        ),
        (
            "dro.wsy",
            f"{__name__}:Drowsy",
            "the text form cannot contain its name; correct or remove the pack",
        ),
        ("sleep", f"{__name__}:Drowsy", "the text form cannot contain its name"),
    ],
)
def test_a_broken_package_is_named(installs: Installs, name: str, where: str, problem: str) -> None:
    installs(**{name: where})
    with pytest.raises(InvalidPlan) as caught:
        Rule(point="a", faults=[{"kind": name}])
    assert str(caught.value).startswith(f"rule 'a': faults[0].kind={name!r}: {problem}")
    assert Rule(point="a", hang=True).faults == (Hang(),)  # nothing else suffers


def test_no_package_replaces_a_kind_of_ours(installs: Installs) -> None:
    installs(hang=f"{__name__}:Drowsy")
    assert Rule(point="a", faults=[{"kind": "hang"}]).faults == (Hang(),)
