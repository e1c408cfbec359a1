"""Talk to a store without a server: every worker applies what is written there.

The store holds no descriptions of points and no counts, so these are None in the answers.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from chaospoint._kernel.names import matches, nearest
from chaospoint.cli.failures import ExitCode, Failure, problem, refused, unreachable
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


def store_target(url: str, option: str) -> StoreTarget:
    """Return the store at ``url``, the value of ``option``.

    Raises `StoreError`, and `Failure` if the directory does not exist.
    """
    store = open_store(url)
    parts = urlsplit(store.url)
    if parts.scheme == "file" and not Path(unquote(parts.path, errors="surrogateescape")).is_dir():
        raise unreachable(
            f"no chaospoint store at {url}: the directory does not exist",
            f"start the service with CHAOSPOINT_STORE={url}, or correct {option}",
        )
    return StoreTarget(store)


class StoreTarget:
    """A store that the processes of a service follow."""

    def __init__(self, store: Store) -> None:
        self.where = store.url
        self._store = store
        self._audit = Audit.of(Settings(store=store.url))

    # Reads

    def status(self) -> Json:
        """Return what the store holds."""
        return self._status(self._store.read())

    def workers(self) -> Json:
        """Return the workers that are alive."""
        return {
            "generation": self._store.read().generation,
            "store": self.where,
            "workers": [state_of_worker(worker, None) for worker in self._store.workers()],
        }

    def points(self) -> Json:
        """Return the points that workers report."""
        return points_of(self._store.read(), self._names(), moment())

    def point(self, name: str) -> Json:
        """Return what the store knows of one point, and the rules that act there."""
        if (unknown := self._unknown(name)) is not None:
            raise refused(unknown)
        return point_of(self._store.read(), name, moment())

    def injections(self, point: str | None, limit: int | None) -> Json:
        """Refuse, because each process keeps its own injections."""
        del point, limit
        urls = sorted({worker.admin for worker in self._store.workers() if worker.admin})
        cure = f"ask one with --url {urls[0]}" if urls else "ask one with --url"
        raise _not_in_store("the store holds no injections: each process keeps its own", cure)

    def plan(self) -> HeldPlan:
        """Return the rules that have not expired."""
        desired = self._store.read()
        rules = [entry.seeded.model_dump(mode="json") for entry in live(desired, moment())]
        return HeldPlan(str(desired.generation), {"rules": rules})

    # Writes

    def taken_away(self, plan: Plan) -> list[Json]:
        """Return the rules of the store that the plan would remove."""
        entries = self._store.read().taken_away(plan.rules, now=moment())
        return [state_of_taken(entry, _by()) for entry in entries]

    def put_plan(self, plan: Plan, *, tag: str | None) -> Json:
        """Replace all rules of the store."""
        check_from_outside(plan)
        rules = list(zip(plan.rules, seeds(plan), strict=True))

        def edit(desired: Desired) -> Desired:
            if tag is not None and str(desired.generation) != tag:
                raise _stale(tag, desired.generation)
            return desired.put(rules, default_seconds=EXPIRES_AFTER_SECONDS, by=_by(), now=moment())

        return self._write("plan apply", edit, rules=plan.rules)[1]

    def put(self, name: str, keys: Mapping[str, object], *, force: bool) -> Json:
        """Arm the rule if a worker has a point of that name, or if ``force`` is set."""
        plan = Plan(rules=parse_rules(keys, point=name))
        check_from_outside(plan)
        unknown = self._unknown(name)
        if unknown is not None and not force:
            raise refused(unknown, "--force arms it for workers that have the point later")
        rules = list(zip(plan.rules, seeds(plan), strict=True))
        desired, answer = self._write(
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
        entries = [entry for entry in desired.entries if entry.rule.point == name]
        states = rules_of(entries, desired.time(moment()))
        return answer | {"name": name, "rules": states, "next": None, "remarks": _remarks(unknown)}

    def dry_run(self, name: str, keys: Mapping[str, object]) -> Json:
        """Refuse, because only a process knows what its placements can express."""
        del name, keys
        raise _not_in_store("only a service can preview a rule", "give --url instead of --store")

    def disarm(self, pattern: str) -> Json:
        """Disarm, even if no worker reports a point of this name."""
        unknown, before = self._unknown(pattern), self._store.read()
        desired, answer = self._write(
            f"disarm {pattern}",
            lambda desired: desired.disarm(pattern, by=_by(), now=moment()),
        )
        excluded = {entry.id: entry.excluded for entry in desired.entries}
        changed = sum(excluded.get(entry.id) != entry.excluded for entry in live(before, moment()))
        return answer | {"disarmed": changed, "remarks": _remarks(unknown)}

    def release(self, pattern: str) -> Json:
        """Release paused calls; the store does not know how many there are."""
        unknown = self._unknown(pattern)
        _, answer = self._write(
            f"release {pattern}",
            lambda desired: desired.release(pattern, by=_by(), now=moment()),
        )
        return answer | {"released": None, "remarks": _remarks(unknown)}

    def renew(self, pattern: str, expires_after: str | None) -> Json:
        """Renew the rules that have not expired."""
        keys: dict[str, Any] = {"expires_after": expires_after}
        seconds = Renewal(**keys).expires_after

        def edit(desired: Desired) -> Desired:
            now = moment()
            if not desired.live(pattern, now):
                raise _nothing_to_renew(pattern)
            return desired.renew(pattern, seconds, by=_by(), now=now)

        desired, answer = self._write(f"renew {pattern}", edit)
        now = desired.time(moment())
        rules = rules_of(desired.live(pattern, now), now)
        return answer | {"renewed": len(rules), "rules": rules}

    def enable(self) -> Json:
        """Turn the master switch on."""
        desired, answer = self._write(
            "enable", lambda desired: desired.enable(by=_by(), now=moment())
        )
        return self._status(desired) | answer

    def disable(self, reason: str) -> Json:
        """Turn the master switch off, even if the store is damaged or locked."""
        reason = one_line(reason)
        steps = disabled(self._store, by=_by(), wall=moment, reason=reason)
        desired, answer = self._written("disable", steps, reason=reason)
        return self._status(desired) | answer

    def close(self) -> None:
        """Do nothing: a store keeps no file open."""

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
        acknowledgement = run_blocking(acknowledged(self._store, desired.generation))
        return desired, acknowledgement.as_data()

    def _status(self, desired: Desired) -> Json:
        try:
            points = len(self._names())
        except StoreError:  # the state of the store can be shown without the workers
            points = 0
        return status_of(desired, store=self.where, points=points, now=moment())

    def _names(self) -> list[str]:
        return sorted({name for worker in self._store.workers() for name in worker.points})

    def _unknown(self, pattern: str) -> UnknownPoint | None:
        """Return the error if there are workers, but none reports a matching point."""
        if pattern == "*" or not self._store.workers():
            return None
        names = self._names()
        if any(matches(pattern, name) for name in names):
            return None
        return UnknownPoint(pattern, nearest(pattern, names))


def _remarks(unknown: UnknownPoint | None) -> list[str]:
    return [] if unknown is None else [f"no worker has this point yet: {unknown}"]


def _stale(tag: str, generation: int) -> Failure:
    return problem(
        ExitCode.REFUSED,
        "stale",
        f"the plan changed meanwhile: generation {tag} was read, and it is now {generation}",
        status=412,
        cure="run `chaospoint plan diff` to see the change, or apply with --force",
    )


def _nothing_to_renew(pattern: str) -> Failure:
    return problem(
        ExitCode.REFUSED,
        "nothing-to-renew",
        f"the store has no rule at {pattern!r} that is still in force",
        status=404,
        cure="arm it again with `chaospoint arm`; `chaospoint plan show` lists the rules",
    )


def _not_in_store(detail: str, cure: str) -> Failure:
    return problem(ExitCode.USAGE, "not-in-the-store", detail, cure=cure)


def _by() -> str:
    return f"cli {user()}".strip()
