"""The meaning of rules, case by case; the YAML files beside this one say what is to happen.

A case is a title and steps.  Nothing is armed when it begins, and time stands still.  Each case
is played at a function, a coroutine, a generator, an asynchronous generator, a block, a statement
and the asynchronous twins of these, wherever its rules can act.

**Calls.**  ``call: x x .`` makes three calls at the point ``p``, and tells the story of each:

=================  ========================================================
``.``              the call did its work
``x``              it raised `OSError`
``TimeoutError``   it raised this
``=[8,9]``         it returned this, or yielded these items
``250ms``          so much time passed
``-``              nothing happened
=================  ========================================================

and ``+`` is "and then": ``250ms+x`` was delayed and failed, ``.+x`` did its work and failed.
``call: 12 times, x at 4 8 12`` is short for the others doing their work.  A call may be ``call at
db.read``, ``call with tenant=acme`` (an argument of a function, a label of a block or statement),
``call with the argument acme`` (by position), ``call that fails`` (its work raises `LookupError`),
``call never run`` (an object that is thrown away), ``call closed early`` (a stream, after its first
item), ``call in a task`` (``in to_thread``, ``in a copied context``, ``in a plain thread``).

``begin a: waits 32s`` makes a call in the background, named a; ``hangs`` and ``pauses`` have no
end.  ``advance: 8s`` lets time pass, and ``end a: 8s+.`` is its whole story.

**Arming.**  ``arm: p=raise(OSError)`` arms a plan in text form; keys are one rule, a list is a
plan, and so is ``{seed: 7, rules: [...]}``.  ``arm one: ...`` names the handle for ``disarm handle:
one`` and ``release: one``.  ``arm from http`` is another source; ``arm in another context`` is
that; ``arm, refused with InvalidPlan`` arms nothing.  ``file says`` and ``env says`` replace what
these said before, and ``put on p`` is HTTP's PUT.  ``disarm: db.*``, ``disable`` and ``enable`` are
what they say.  ``placement: db.late`` makes a point that was not called so far.

**What is seen.**  ``counts``, one line for each rule in the order in which they were first armed:
what is not mentioned is 0, and the state is ``armed``.  ``told``: the fault of each injection, and
``ordinals`` their ordinals.  ``logged``: a line of the log has these words.  ``noted``: how often
the function ``note``, which a rule may ``call``, was called.

``only: functions`` (or decorated, streams, blocks, statements, sync, async, or one kind) is where a
case is played if its rules do not tell.  ``labels: {tenant: acme}`` are those of the placements
that are made next.  ``environment`` sets a variable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import PATIENCE, Standing, Threads, Witness

import chaospoint
from chaospoint import Armed, Injection, Plan, Registry, Rule, errors
from chaospoint._kernel.armed_rule import ArmedRule
from chaospoint.arming import Origin, install_plan
from chaospoint.plan.compiling import compile_plan

from .calls import PLACEMENTS, WORK, FlyingClock, Place, Story, told

pytestmark = pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning")

GROUPS = {
    "functions": ("function", "coroutine"),
    "streams": ("generator", "async generator"),
    "decorated": ("function", "coroutine", "generator", "async generator"),
    "blocks": ("block", "async block"),
    "statements": ("statement", "async statement"),
    "sync": ("function", "generator", "block", "statement"),
    "async": ("coroutine", "async generator", "async block", "async statement"),
}


class _Breaks:
    """A value that cannot be compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError


SPECIAL = {"<breaks>": _Breaks()}

Steps = list[dict[str, Any] | str]


def _fails(injection: Injection) -> None:
    raise LookupError


class Play:
    """One case at one kind of placement."""

    def __init__(
        self,
        kind: str,
        registry: Registry,
        clock: FlyingClock,
        pool: Threads,
        patch: pytest.MonkeyPatch,
        log: pytest.LogCaptureFixture,
    ) -> None:
        self.registry = registry
        self.labels: dict[str, object] = {}
        self.clock = clock
        self.pool = pool
        self.patch = patch
        self.log = log
        self.witness = Witness()
        self.noted: list[Injection] = []
        self._place = PLACEMENTS[kind]
        self._looped = kind in GROUPS["async"]
        self._placed: dict[str, Callable[..., Any]] = {}
        self._handles: dict[str, Armed] = {}
        self._standing = Standing(self.registry)
        self._rules: list[ArmedRule] = []
        self._made: dict[str, Callable[[], Any]] = {}
        self._begun: dict[str, Future[str]] = {}
        registry.add_observer(self.witness)

    # -- calls ----------------------------------------------------------------------------

    def call(
        self,
        said: str,
        at: str | None,
        labels: str | None,
        argument: str | None,
        how: str | None,
        place: str | None,
    ) -> None:
        call = self._call(at, labels, argument)
        wanted = _stories(said)
        stories = [told(call, self._story(how), place) for _ in wanted]
        assert " ".join(stories) == " ".join(wanted)

    def make(self, said: None, name: str) -> None:
        made = self._call()()
        self._made[name] = lambda: made

    def run(self, said: str, name: str) -> None:
        assert told(self._made.pop(name), self._story()) == said

    def begin(self, said: str, name: str, at: str | None, labels: str | None) -> None:
        call, story = self._call(at, labels), self._story(patient=True)
        word, _, time = said.partition(" ")
        seconds = _seconds(time) if time else None
        assert word in {"waits", "hangs", "pauses"}
        count = self.clock.waiting.count(seconds) + 1
        self._begun[name] = self.pool.submit(copy_context().run, told, call, story)
        self.clock.until_waiting(seconds, count=count)

    def end(self, said: str, name: str) -> None:
        assert self._begun.pop(name).result(PATIENCE) == said

    def _story(self, how: str | None = None, *, patient: bool = False) -> Story:
        return Story(self.clock, how, looped=self._looped, patient=patient)

    def _call(
        self, at: str | None = None, labels: str | None = None, argument: str | None = None
    ) -> Callable[[], Any]:
        name = at or "p"
        if name not in self._placed:
            self.registry.point(name)
            self._placed[name] = self._place(Place(self.registry, name, self.labels))
        arguments = [] if argument is None else [argument]
        return partial(self._placed[name], *arguments, **_labels(labels or ""))

    def placement(self, said: str) -> None:
        for name in said.split():
            self._call(name)

    def set_labels(self, said: dict[str, Any]) -> None:
        self.labels = said

    def environment(self, said: str) -> None:
        self.patch.setenv(*said.split("="))

    def advance(self, said: str) -> None:
        self.clock.advance(_seconds(said))
        self.registry.engine.expire()  # as its own thread does, sooner or later

    # -- arming ---------------------------------------------------------------------------

    def arm(
        self,
        said: Any,
        name: str | None = None,
        source: str | None = None,
        elsewhere: str | None = None,
        refusal: str | None = None,
        **how: Any,
    ) -> None:
        def act() -> Armed:
            plan = self._plan(said)
            if source is None:
                return chaospoint.arm(plan, registry=self.registry)
            kind: Any = source
            return install_plan(plan, origin=Origin(kind), registry=self.registry, **how)

        where = Context() if elsewhere else copy_context()
        if refusal is not None:
            with pytest.raises(getattr(errors, refusal)):
                act()
            return
        handle = where.run(act) if elsewhere else act()
        self._handles[name or "it"] = handle
        self._rules += [rule for rule in handle.rules if rule not in self._rules]

    def says(self, said: Any, source: str) -> None:
        self.arm(said, source=source, replace=True)

    def put(self, said: Any, name: str) -> None:
        terms = compile_plan(self._plan(said), trust="loaded")
        handle = self._handles["it"] = self._standing.put(terms, name)
        self._rules += handle.rules

    def _plan(self, said: Any) -> Plan:
        seed = None
        if isinstance(said, Mapping) and "rules" in said:
            said, seed = said["rules"], said.get("seed")
        items = said if isinstance(said, list) else [said]
        rules = [rule for item in items for rule in self._read(item)]
        return Plan(rules=rules, seed=seed)

    def _read(self, item: str | dict[str, Any]) -> Sequence[Rule]:
        if isinstance(item, str):
            return Plan.parse(item).rules
        if "call" in item:
            item = {**item, "call": self._function(item["call"])}
        return [Rule(**item)]

    def _function(self, name: str) -> Callable[[Injection], object]:
        async def anote(injection: Injection) -> None:
            self.noted.append(injection)

        return {"note": self.noted.append, "await note": anote, "fail": _fails}[name]

    def disarm(self, pattern: str) -> None:
        self.registry.disarm(pattern)

    def disarm_handle(self, name: str) -> None:
        self._handles[name].disarm()

    def release(self, name: str) -> None:
        self._handles[name].release()

    def disable(self, said: None) -> None:
        self.registry.disable()

    def enable(self, said: None) -> None:
        self.registry.enable()

    # -- what is seen ---------------------------------------------------------------------

    def counts(self, said: str | list[str]) -> None:
        wanted = [said] if isinstance(said, str) else said
        assert [_counted(rule) for rule in self._rules] == wanted

    def told(self, said: str) -> None:
        assert " ".join(one.fault for one in self.witness.injections) == said

    def ordinals(self, said: object) -> None:
        assert " ".join(str(one.ordinal) for one in self.witness.injections) == str(said)

    def logged(self, said: str) -> None:
        assert any(said in message for message in self.log.messages)

    def note_count(self, said: int) -> None:
        assert len(self.noted) == said


STEPS: Sequence[tuple[str, Callable[..., None]]] = (
    (
        r"call(?: at (?P<at>\S+))?(?: with (?P<labels>\S+=.*?))?"
        r"(?: with the argument (?P<argument>\S+))?"
        r"(?: (?P<how>that fails|never run|closed early))?"
        r"(?: in (?P<place>a task|to_thread|a copied context|a plain thread))?",
        Play.call,
    ),
    (r"begin (?P<name>\w+)(?: at (?P<at>\S+))?(?: with (?P<labels>\S+=.*))?", Play.begin),
    (r"end (?P<name>\w+)", Play.end),
    (r"make (?P<name>\w+)", Play.make),
    (r"run (?P<name>\w+)", Play.run),
    (r"environment", Play.environment),
    (r"placement", Play.placement),
    (r"labels", Play.set_labels),
    (r"advance", Play.advance),
    (
        r"arm(?: (?!from|in)(?P<name>\w+))?(?: from (?P<source>\w+))?"
        r"(?: in (?P<elsewhere>another context))?(?:, refused with (?P<refusal>\w+))?",
        Play.arm,
    ),
    (r"(?P<source>file|env) says", Play.says),
    (r"put on (?P<name>\S+)", Play.put),
    (r"disarm", Play.disarm),
    (r"disarm handle", Play.disarm_handle),
    (r"release", Play.release),
    (r"disable", Play.disable),
    (r"enable", Play.enable),
    (r"counts", Play.counts),
    (r"told", Play.told),
    (r"ordinals", Play.ordinals),
    (r"logged", Play.logged),
    (r"noted", Play.note_count),
)


def _stories(said: str) -> list[str]:
    """Return the story of each call that is spoken of."""
    short = re.fullmatch(r"(\d+) times, (\S+) at ([\d ]+)", str(said))
    if short is None:
        return str(said).split()
    at = set(map(int, short[3].split()))
    return [short[2] if nth in at else WORK for nth in range(1, int(short[1]) + 1)]


def _labels(said: str) -> dict[str, Any]:
    pairs = (pair.split("=", 1) for pair in said.split())
    return {name: SPECIAL.get(value) or yaml.safe_load(value) for name, value in pairs}


def _seconds(said: str) -> float:
    number = said.removesuffix("s").removesuffix("m")
    return float(number) / (1000 if said.endswith("ms") else 1)


def _counted(rule: ArmedRule) -> str:
    """Return the counts of a rule in words."""
    reaches, injections = rule.reaches, rule.injections
    parts = [f"{reaches} {'reach' if reaches == 1 else 'reaches'}"]
    if injections:
        parts.append(f"{injections} {'injection' if injections == 1 else 'injections'}")
    for name in ("shadowed", "interrupted", "overflow"):
        if count := getattr(rule, name):
            parts.append(f"{count} {name}")
    return ", ".join([*parts, *([] if rule.state == "armed" else [rule.state])])


def _cases() -> Iterator[tuple[str, Steps]]:
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        text = path.read_text()
        cases = yaml.safe_load(text)
        assert len(cases) == len(re.findall(r"^\w.*:$", text, re.MULTILINE)), f"twice in {path}"
        yield from cases.items()


def _kinds(steps: Steps) -> Sequence[str]:
    """Return the kinds of placements at which the rules of a case can act."""
    said = json.dumps(steps)
    for step in steps:
        if isinstance(step, dict) and "only" in step:
            return [kind for word in step["only"].split(", ") for kind in GROUPS.get(word, (word,))]
    kinds = set(PLACEMENTS)
    after, answers = '"when": "after"' in said, re.findall(r'return(?:s": |\(|)(.?)', said)
    if after:
        kinds -= {*GROUPS["statements"]}
    if answers:
        kinds &= {*GROUPS["decorated"]}
    if any(first != "[" for first in answers) or (answers and after):
        kinds -= {*GROUPS["streams"]}
    if "closed early" in said:
        kinds &= {*GROUPS["streams"]}
    if "never run" in said or "make a" in said:
        kinds &= {"coroutine", *GROUPS["streams"]}
    if "with the argument" in said:
        kinds &= {*GROUPS["decorated"]}
    return [kind for kind in PLACEMENTS if kind in kinds]


@pytest.fixture
def clock() -> FlyingClock:
    """A clock that passes by itself for calls that would wait on it."""
    return FlyingClock()


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        pytest.param(steps, kind, id=f"{title}-{kind}")
        for title, steps in _cases()
        for kind in _kinds(steps)
    ],
)
def test_meaning(
    steps: Steps,
    kind: str,
    still: Registry,
    clock: FlyingClock,
    pool: Threads,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the case says is what happens."""
    play = Play(kind, still, clock, pool, monkeypatch, caplog)
    copy_context().run(_play, play, steps)


def _step(words: str) -> tuple[Callable[..., None], dict[str, Any]]:
    """Return what to do at a step, and how."""
    for pattern, act in STEPS:
        if found := re.fullmatch(pattern, words):
            return act, found.groupdict()
    raise ValueError("not a step")


def _play(play: Play, steps: Steps) -> None:
    for step in steps:
        ((words, said),) = step.items() if isinstance(step, dict) else ((step, None),)
        if words == "only":
            continue
        try:
            act, how = _step(words)
            act(play, said, **how)
        except BaseException as error:
            error.add_note(f"in the step: {words}: {said}")
            raise
