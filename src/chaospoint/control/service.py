"""A request in, an answer out: no socket, no thread, and no point acts in here.

A write is in force in every worker when its answer is returned, or the answer says in which it is
not.  Nothing but `BaseException`s that are no `Exception` leaves a `Service`; a refusal is a
problem document, and so is a bug.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chaospoint._kernel.context import transparently
from chaospoint._kernel.names import MAX_NAME
from chaospoint._registry.registry import Registry, default_registry
from chaospoint.control.access import DISABLE, READS, AccessPolicy, is_order_to_disable
from chaospoint.control.audit import Audit
from chaospoint.control.changes import Changes, Written
from chaospoint.control.dry_run import preview
from chaospoint.control.http import OPERATOR, Request, Response, reply
from chaospoint.control.inputs import (
    flag,
    lifetime,
    no_keys,
    number,
    parameters,
    plan_keys,
    rule_keys,
    shown,
)
from chaospoint.control.openapi.describe import document
from chaospoint.control.openapi.operations import OPERATIONS
from chaospoint.control.pages import USUAL, BadMark, Page
from chaospoint.control.problem import Problem, problem_of
from chaospoint.control.reason import one_line, reason_of
from chaospoint.control.rendering import state_of_taken
from chaospoint.control.views import Views, scrape
from chaospoint.errors import ChaosError, InvalidPlan
from chaospoint.models.refusal import show
from chaospoint.observers.journal import LONGEST
from chaospoint.plan.compiling import unseeded
from chaospoint.plan.limits import NO_LIMITS, Limits
from chaospoint.plan.plan import Plan, parse_plan, parse_rules
from chaospoint.plan.rule import Rule
from chaospoint.sources.settings import Settings
from chaospoint.stores.acknowledging import run_blocking
from chaospoint.stores.desired import Desired, Entry
from chaospoint.stores.moments import moment
from chaospoint.stores.reconciler import reconciler_of

__all__ = ["Service", "Steps"]

_POINTS = "/v1/points/"
_log = logging.getLogger("chaospoint")

Steps = Generator[float, None, Response]
"""Yields the seconds to wait before it is asked to go on; returns the answer."""


@dataclass(slots=True)
class _Change:
    """What came of a write, for the audit log."""

    generation: int | None = None
    rules: Sequence[Rule] = ()
    detail: str = ""
    reason: str = ""
    let_in: bool = False


@dataclass(frozen=True, slots=True)
class _Call:
    """One request that was let in: what it is about, who asks, and what comes of it."""

    request: Request
    name: str
    query: dict[str, str]
    change: _Change

    @property
    def by(self) -> str:
        return _by(self.request)

    def written(self, change: Written) -> Written:
        """Make a change, and take note of the generation it made."""
        done = yield from change
        generation = done["generation"]
        self.change.generation = generation if isinstance(generation, int) else None
        return done

    @property
    def page(self) -> Page:
        """The part of a list that is asked for."""
        limit = number(self.query, "limit", USUAL, LONGEST)
        return Page(limit, self.query.get("after", ""))

    @property
    def expected(self) -> int | None:
        """The generation in If-Match, None if any will do."""
        tag = self.request.headers.get("if-match", "*")
        if tag == "*":
            return None
        digits = tag[1:-1]
        if tag != f'"{digits}"' or not (digits.isascii() and digits.isdigit()) or len(tag) > 20:
            raise Problem(
                400,
                "bad-if-match",
                f"If-Match is {tag!r}, which is no ETag of a plan",
                value=tag,
                cure='send one ETag as GET /v1/plan gives it, such as "12"',
            )
        return int(digits)


@dataclass(frozen=True, slots=True)
class _Route:
    """A handler and its query parameters; ``lenient``: others are ignored."""

    answer: Callable[[_Call], Response | Steps]
    parameters: frozenset[str]
    lenient: bool


class Service:
    """The admin endpoint of one registry, behind one door. Safe from any thread."""

    def __init__(
        self,
        registry: Registry,
        policy: AccessPolicy,
        *,
        seed: int | None = None,
        limits: Limits = NO_LIMITS,
        audit: Audit | None = None,
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._audit = audit or Audit()
        self._reconciler = partial(reconciler_of, registry, seed=seed, limits=limits)
        self._views = Views(registry, policy, self._reconciler, limits)
        self._changes = Changes(registry, self._reconciler, seed=seed, limits=limits)
        self._routes: Mapping[str, Mapping[str, _Route]] = {
            path: {
                method.upper(): _Route(
                    getattr(self, f"_{operation.handler}"), operation.query, operation.lenient
                )
                for method, operation in operations.items()
            }
            for path, operations in OPERATIONS.items()
        }

    @classmethod
    def of(cls, settings: Settings, registry: Registry | None = None) -> Service:
        """Return the service that ``settings`` describe, of the default registry if none."""
        home = default_registry() if registry is None else registry
        return cls(
            home,
            AccessPolicy.of(settings),
            seed=settings.seed,
            limits=settings.limits,
            audit=Audit.of(settings),
        )

    def knows(self, request: Request) -> bool:
        """Say whether the door may let this client in, by its headers and its address alone."""
        return self._policy.knows(request)

    def stop_first(self, request: Request) -> bool:
        """Disable this process if the request asks for that, before its body is there.

        Return whether it does: then the body is not worth waiting for. `steps` does the rest.
        """
        if not is_order_to_disable(request) or not self.knows(request):
            return False  # `steps` counts a wrong token, once
        try:
            self._policy.check(request)
        except Problem:
            return False  # the answer tells why
        self._registry.disable(by=_by(request))
        return True

    def answer(self, request: Request) -> Response:
        """Return the answer to ``request``; waits on this thread for the other workers."""
        return transparently(partial(run_blocking, self.steps(request)))

    def steps(self, request: Request) -> Steps:
        """Answer ``request`` in steps, for those who wait in another way than `answer`.

        Take them where every point is transparent. Close them where nobody waits any more.
        """
        change = _Change()
        try:
            response = yield from self._answer(request, change)
        except GeneratorExit:
            change.detail = "who asked did not wait for the answer"
            self._record(request, None, change)  # what was written stays
            raise
        except Exception as error:
            problem = _problem_of(error, request)
            change.detail = _without_values(error) or problem.detail
            response = problem.response()
        self._record(request, response.status, change)
        return replace(response, body=b"") if request.method == "HEAD" else response

    def _record(self, request: Request, status: int | None, change: _Change) -> None:
        if request.method in READS:
            return
        caller = self._policy.caller(request)
        query = f"?{shown(request)}" if request.query else ""
        self._audit.record(
            f"{request.method} {request.path}{query}",
            status,
            who=caller.name,
            client=caller.address,
            generation=change.generation,
            rules=change.rules,
            detail=change.detail,
            reason=change.reason,
            strange=not change.let_in and caller.name in ("wrong token", "no token"),
        )

    def _answer(self, request: Request, change: _Change) -> Steps:
        self._policy.check(request)
        change.let_in = True
        path, name = DISABLE if is_order_to_disable(request) else request.path, ""
        if path.startswith(_POINTS):
            name, slash, action = path.removeprefix(_POINTS).partition("/")
            path = f"{_POINTS}{{name}}{slash}{action}"
        routes = self._routes.get(path)
        if routes is None or (path.startswith(_POINTS) and not name):
            there = [f"{'|'.join(routes)} {path}" for path, routes in self._routes.items()]
            meant = request.path.rstrip("/")
            known = meant in self._routes and meant + "/" != _POINTS  # that was to be a name
            cure = f"leave out the slash: {meant}" if known else None
            problem = f"there is nothing at {request.path!r}"
            raise Problem(404, "unknown-route", problem, routes=there, cure=cure)
        route = routes.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allow = ", ".join([*routes, "HEAD"] if "GET" in routes else routes)
            raise Problem(
                405,
                "method-not-allowed",
                f"{request.path!r} does not answer {request.method}; use {allow}",
                headers={"allow": allow},
            )
        query = {} if route.lenient else parameters(request, route.parameters)
        # No look-up is made for what is long: it would take long.
        if len(name) > MAX_NAME:
            problem = f"no point has a name of more than {MAX_NAME} characters"
            raise Problem(404, "unknown-point", problem, name=show(name), nearest=[])
        if len(asked := query.get("point", "")) > MAX_NAME:
            problem = f"point is longer than {MAX_NAME} characters"
            cure = "write a shorter name, or a glob"
            raise Problem(400, "bad-query", problem, field="point", value=show(asked), cure=cure)
        call = _Call(request, name, query, change)
        answer = route.answer(call)
        if isinstance(answer, Response):
            return answer
        return (yield from answer)

    # -- reads ----------------------------------------------------------------------------

    def _status(self, call: _Call) -> Response:
        return _paged(call, self._views.status(call.page))

    def _workers(self, _call: _Call) -> Response:
        return reply(200, self._views.workers())

    def _plan(self, call: _Call) -> Response:
        desired = self._reconciler().store.read()
        tag = f'"{desired.generation}"'
        if call.request.headers.get("if-none-match") == tag:
            return reply(304, b"", headers={"etag": tag})
        rules = [one.seeded.model_dump(mode="json") for one in _standing(desired)]
        return reply(200, {"rules": rules}, headers={"etag": tag})

    def _points(self, call: _Call) -> Response:
        return _paged(call, self._views.points(call.page))

    def _point(self, call: _Call) -> Response:
        return _paged(call, self._views.point(call.name, page=call.page))

    def _injections(self, call: _Call) -> Response:
        limit = number(call.query, "limit", USUAL, LONGEST)
        return reply(200, self._views.injections(call.query.get("point", "*"), limit))

    def _openapi(self, _call: _Call) -> Response:
        policy = self._policy
        return reply(
            200, document(control=policy.token is not None, read=policy.read_token is not None)
        )

    def _metrics(self, _call: _Call) -> Response:
        self._registry.flush()
        media, text = scrape()
        return reply(200, text, media=media)

    # -- writes ---------------------------------------------------------------------------

    def _put_plan(self, call: _Call) -> Steps:
        plan = parse_plan(plan_keys(call.request))
        if flag(call.query, "dry_run"):
            return self._previewed(call, plan, None)
        done = yield from self._put_into_force(call, plan)
        return reply(200, done, headers={"etag": f'"{done["generation"]}"'})

    def _put(self, call: _Call) -> Steps:
        name = call.name
        points = self._views.known(name)
        plan = Plan(rules=parse_rules(rule_keys(name, call.request), point=name))
        if flag(call.query, "dry_run"):
            return self._previewed(call, plan, name)
        done = yield from self._put_into_force(call, plan, name)
        return reply(200, {**self._views.point(name, points), **done})

    def _put_into_force(self, call: _Call, plan: Plan, name: str | None = None) -> Written:
        call.change.rules = plan.rules
        put = self._changes.put(plan, name=name, by=call.by, expected=call.expected)
        return (yield from call.written(put))

    def _previewed(self, call: _Call, plan: Plan, name: str | None) -> Response:
        rules, remarks = self._changes.tried(plan, name)
        desired = self._reconciler().store.read()
        self._changes.put_edit(plan, name=name, by=call.by, expected=call.expected)(desired)
        replaced = [one.rule for one in _standing(desired) if name in (None, one.rule.point)]
        taken = [] if name else desired.taken_away(plan.rules, now=moment())
        return reply(
            200,
            {
                "dry_run": True,
                "generation": desired.generation,
                "rules": preview(self._registry.engine, plan.rules, rules),
                "replaces": [unseeded(rule) for rule in replaced],
                "takes_away": [state_of_taken(one, call.by) for one in taken],
                "remarks": remarks,
            },
        )

    def _disarm(self, call: _Call) -> Steps:
        no_keys(call.request)
        pattern = call.name or "*"
        self._views.something_there(pattern)
        change = self._changes.disarm(pattern, by=call.by, expected=call.expected)
        return reply(200, (yield from call.written(change)))

    def _release(self, call: _Call) -> Steps:
        no_keys(call.request)
        self._views.something_there(call.name)
        change = self._changes.release(call.name, by=call.by)
        return reply(200, (yield from call.written(change)))

    def _renew(self, call: _Call) -> Steps:
        seconds = lifetime(call.request)
        self._views.something_there(call.name)
        change = self._changes.renew(call.name, seconds, by=call.by, expected=call.expected)
        done = yield from call.written(change)
        return reply(200, {**done, "rules": self._views.renewed(call.name)})

    def _enable(self, call: _Call) -> Steps:
        no_keys(call.request)
        return self._switch(call, self._changes.enable(by=call.by))

    def _disable(self, call: _Call) -> Steps:
        """Disable, whatever the body holds; a reason in it is kept."""
        call.change.reason = reason = reason_of(call.request)
        return self._switch(call, self._changes.disable(by=call.by, reason=reason))

    def _switch(self, call: _Call, change: Written) -> Steps:
        done = yield from call.written(change)
        return reply(200, {**self._views.status(), **done})


def _paged(call: _Call, told: dict[str, object]) -> Response:
    return reply(200, told, headers=call.page.link(told["next"]))


def _by(request: Request) -> str:
    """Return the address, with the name that the client says it has."""
    address = f"http {request.client or 'local'}"
    name = one_line(request.headers.get(OPERATOR, ""), most=60)
    return f"{address} ({name})" if name else address


def _standing(desired: Desired) -> list[Entry]:
    now = desired.time(moment())
    return [one for one in desired.entries if one.seconds_left(now) > 0]


def _without_values(error: Exception) -> str:
    """Return what of a rule is refused, for those who were not meant to read its values."""
    if not isinstance(error, InvalidPlan):
        return ""
    return f"{': '.join(filter(None, (error.rule, error.field))) or 'the body'} is refused"


def _problem_of(error: Exception, request: Request) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, ChaosError):
        return problem_of(error)
    if isinstance(error, BadMark):
        asked = str(error)
        return Problem(
            400,
            "bad-query",
            f"after is {show(asked)}, which no page of {request.path} has given",
            field="after",
            value=show(asked),
            cure="send the `next` of the page before, or leave `after` out for the first page",
        )
    _log.exception("%r failed inside chaospoint", f"{request.method} {request.path}")
    return Problem(500, "bug", "this is a bug in chaospoint; its log has the details")
