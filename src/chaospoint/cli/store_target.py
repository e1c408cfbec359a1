"""The store without a server: what is written there every worker brings into force.

What is known of a point, or counted in a process, is not in the store, and None in the answers.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from chaospoint._kernel.names import matches, nearest
from chaospoint.cli.failures import ExitCode, Failure, refused, unreachable
from chaospoint.cli.store_views import live, point_of, points_of, rules_of, status_of
from chaospoint.cli.target import HeldPlan, Json
from chaospoint.cli.user import user
from chaospoint.control.audit import Audit
from chaospoint.control.changes import EXPIRES_AFTER_SECONDS
from chaospoint.control.openapi.request_schemas import Renewal
from chaospoint.control.problem import problem_of
from chaospoint.control.reason import one_line
from chaospoint.control.rendering import state_of_taken, state_of_worker
from chaospoint.errors import ChaosError, StoreError, UnknownPoint
from chaospoint.plan.compiling import check_from_outside, seeds
from chaospoint.plan.plan import Plan, parse_rules
from chaospoint.plan.rule import Rule
from chaospoint.sources.settings import Settings
from chaospoint.stores import open_store
from chaospoint.stores.acknowledging import acknowledged, disabled, run_blocking, updated
from chaospoint.stores.desired import Desired
from chaospoint.stores.moments import moment
from chaospoint.stores.store import Edit, Store

__all__ = ["StoreTarget", "store_target"]


def store_target(url: str, named: str) -> StoreTarget:
    """Return the store at ``url``, which ``named`` says; raises `StoreError`, or `Failure` where
    there is none."""
    store = open_store(url)
    parts = urlsplit(store.url)
    if parts.scheme == "file" and not Path(unquote(parts.path, errors="surrogateescape")).is_dir():
        raise unreachable(
            f"no store of chaospoint at {url}: there is no such directory",
            f"is a service running with CHAOSPOINT_STORE={url}? or correct {named}",
        )
    return StoreTarget(store)


class StoreTarget:
    """A store that other processes follow."""

    def __init__(self, store: Store) -> None:
        self.where = store.url
        self._store = store
        self._audit = Audit.of(Settings(store=store.url))

    # Reads

    def status(self) -> Json:
        """Return what the store holds."""
        return self._status(self._store.read())

    def workers(self) -> Json:
        """Return the workers that are there."""
        return {
            "generation": self._store.read().generation,
            "store": self.where,
            "workers": [state_of_worker(one, None) for one in self._store.workers()],
        }

    def points(self) -> Json:
        """Return the points that workers know."""
        return points_of(self._store.read(), self._names(), moment())

    def point(self, name: str) -> Json:
        """Return what is known of one point, and the rules that act there."""
        if (unknown := self._unknown(name)) is not None:
            raise refused(unknown)
        return point_of(self._store.read(), name, moment())

    def injections(self, point: str | None, limit: int | None) -> Json:
        """Refuse: each process counts its own."""
        del point, limit
        places = sorted({one.admin for one in self._store.workers() if one.admin})
        asked = f"ask one with --url {places[0]}" if places else "ask one with --url"
        raise _elsewhere("the store holds no injections: each process keeps its own", asked)

    def plan(self) -> HeldPlan:
        """Return the rules that still act."""
        desired = self._store.read()
        rules = [one.seeded.model_dump(mode="json") for one in live(desired, moment())]
        return HeldPlan(str(desired.generation), {"rules": rules})

    # Writes

    def taken_away(self, plan: Plan) -> list[Json]:
        """Return what the plan would take away of what the store holds."""
        taken = self._store.read().taken_away(plan.rules, now=moment())
        return [state_of_taken(one, _by()) for one in taken]

    def put_plan(self, plan: Plan, *, tag: str | None) -> Json:
        """Replace all that the store holds."""
        check_from_outside(plan)
        rules = list(zip(plan.rules, seeds(plan), strict=True))

        def edit(desired: Desired) -> Desired:
            if tag is not None and str(desired.generation) != tag:
                raise _stale(tag, desired.generation)
            return desired.put(rules, default_seconds=EXPIRES_AFTER_SECONDS, by=_by(), now=moment())

        return self._write("plan apply", edit, rules=plan.rules)[1]

    def put(self, name: str, keys: Mapping[str, object], *, force: bool) -> Json:
        """Put the rules on the name, if a worker has a point of that name."""
        plan = Plan(rules=parse_rules(keys, point=name))
        check_from_outside(plan)
        unknown = self._unknown(name)
        if unknown is not None and not force:
            raise refused(unknown, "--force arms it for workers that have it later")
        rules = list(zip(plan.rules, seeds(plan), strict=True))
        desired, told = self._write(
            f"arm {name}",
            lambda desired: desired.put(
                rules,
                name=name,
                default_seconds=EXPIRES_AFTER_SECONDS,
                by=_by(),
                now=moment(),
            ),
            rules=plan.rules,
        )
        on = [one for one in desired.entries if one.rule.point == name]
        states = rules_of(on, desired.time(moment()))
        return told | {"name": name, "rules": states, "next": None, "remarks": _remarks(unknown)}

    def dry_run(self, name: str, keys: Mapping[str, object]) -> Json:
        """Refuse: only a process knows what its placements can express."""
        del name, keys
        raise _elsewhere("only a service can say what a rule would do", "give --url")

    def disarm(self, pattern: str) -> Json:
        """Disarm; a name that nobody knows is no reason not to."""
        unknown, before = self._unknown(pattern), self._store.read()
        desired, told = self._write(
            f"disarm {pattern}",
            lambda desired: desired.disarm(pattern, by=_by(), now=moment()),
        )
        left = {one.id: one.excluded for one in desired.entries}
        touched = sum(left.get(one.id) != one.excluded for one in live(before, moment()))
        return told | {"disarmed": touched, "remarks": _remarks(unknown)}

    def release(self, pattern: str) -> Json:
        """Release; how many calls that concerned is not known here."""
        unknown = self._unknown(pattern)
        _, told = self._write(
            f"release {pattern}",
            lambda desired: desired.release(pattern, by=_by(), now=moment()),
        )
        return told | {"released": None, "remarks": _remarks(unknown)}

    def renew(self, pattern: str, expires_after: str | None) -> Json:
        """Renew what stands there."""
        keys: dict[str, Any] = {"expires_after": expires_after}
        seconds = Renewal(**keys).expires_after

        def edit(desired: Desired) -> Desired:
            now = moment()
            if not desired.live(pattern, now):
                raise _nothing_to_renew(pattern)
            return desired.renew(pattern, seconds, by=_by(), now=now)

        desired, told = self._write(f"renew {pattern}", edit)
        now = desired.time(moment())
        rules = rules_of(desired.live(pattern, now), now)
        return told | {"renewed": len(rules), "rules": rules}

    def enable(self) -> Json:
        """Turn the switch on."""
        desired, told = self._write(
            "enable", lambda desired: desired.enable(by=_by(), now=moment())
        )
        return self._status(desired) | told

    def disable(self, reason: str) -> Json:
        """Turn the switch off, whatever the store holds and whoever can read it."""
        reason = one_line(reason)
        steps = disabled(self._store, by=_by(), wall=moment, reason=reason)
        desired, told = self._written("disable", steps, reason=reason)
        return self._status(desired) | told

    def close(self) -> None:
        """Do nothing: a store keeps nothing open for a reader."""

    def _write(self, what: str, edit: Edit, *, rules: Sequence[Rule] = ()) -> tuple[Desired, Json]:
        return self._written(what, updated(self._store, edit), rules=rules)

    def _written(
        self,
        what: str,
        steps: Generator[float, None, Desired],
        *,
        rules: Sequence[Rule] = (),
        reason: str = "",
    ) -> tuple[Desired, Json]:
        record = partial(
            self._audit.record, what, rules=rules, who=_by(), client="shell", reason=reason
        )
        try:
            desired = run_blocking(steps)
        except ChaosError as error:
            record(status=problem_of(error).status, detail=str(error))
            raise
        record(status=200, generation=desired.generation)
        told = run_blocking(acknowledged(self._store, desired.generation))
        return desired, told.as_data()

    def _status(self, desired: Desired) -> Json:
        try:
            points = len(self._names())
        except StoreError:  # what the store holds is told all the same
            points = 0
        return status_of(desired, store=self.where, points=points, now=moment())

    def _names(self) -> list[str]:
        return sorted({name for one in self._store.workers() for name in one.points})

    def _unknown(self, pattern: str) -> UnknownPoint | None:
        """Return what is to be said where there are workers, but none has such a point."""
        if pattern == "*" or not self._store.workers():
            return None
        names = self._names()
        if any(matches(pattern, name) for name in names):
            return None
        return UnknownPoint(pattern, nearest(pattern, names))


def _remarks(unknown: UnknownPoint | None) -> list[str]:
    return [] if unknown is None else [f"no worker has it so far: {unknown}"]


def _stale(tag: str, generation: int) -> Failure:
    document = {
        "type": "urn:chaospoint:problem:stale",
        "title": "Stale",
        "status": 412,
        "detail": f"the plan was changed meanwhile: generation {tag} was read, and there is "
        f"{generation}",
        "cure": "look at it again with `chaospoint plan diff`, or apply with --force",
    }
    return Failure(ExitCode.REFUSED, document)


def _nothing_to_renew(pattern: str) -> Failure:
    document = {
        "type": "urn:chaospoint:problem:nothing-to-renew",
        "title": "Nothing to renew",
        "status": 404,
        "detail": f"no rule stands in the store at {pattern!r} that has not expired",
        "cure": "arm it again with `chaospoint arm`; `chaospoint plan show` lists what stands",
    }
    return Failure(ExitCode.REFUSED, document)


def _elsewhere(detail: str, cure: str) -> Failure:
    document = {
        "type": "urn:chaospoint:problem:not-in-the-store",
        "title": "Not in the store",
        "detail": detail,
        "cure": cure,
    }
    return Failure(ExitCode.USAGE, document)


def _by() -> str:
    return f"cli {user()}".strip()
