"""Turn a request into a response, without sockets or threads.

The response to a write comes after every worker has applied the write, or it names the workers that
have not.  A `Service` answers every `Exception` with a problem document, bugs included; it raises
only other `BaseException`s.  Points are transparent here.
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
"""Yields the seconds to wait before the next step, and returns the response."""


@dataclass(slots=True)
class _Change:
    """The result of a write, for the audit log."""

    generation: int | None = None
    rules: Sequence[Rule] = ()
    detail: str = ""
    reason: str = ""
    let_in: bool = False


@dataclass(frozen=True, slots=True)
class _Call:
    """One request that passed the access policy: its point, its parameters and its result."""

    request: Request
    name: str
    query: dict[str, str]
    change: _Change

    @property
    def by(self) -> str:
        return _by(self.request)

    def written(self, change: Written) -> Written:
        """Make a change, and note its generation for the audit log."""
        result = yield from change
        generation = result["generation"]
        self.change.generation = generation if isinstance(generation, int) else None
        return result

    @property
    def page(self) -> Page:
        """The requested part of a list."""
        limit = number(self.query, "limit", USUAL, LONGEST)
        return Page(limit, self.query.get("after", ""))

    @property
    def expected(self) -> int | None:
        """The generation in If-Match; None if the change fits any generation."""
        tag = self.request.headers.get("if-match", "*")
        if tag == "*":
            return None
        digits = tag[1:-1]
        if tag != f'"{digits}"' or not (digits.isascii() and digits.isdigit()) or len(tag) > 20:
            raise Problem(
                400,
                "bad-if-match",
                f"If-Match is {tag!r}, which is not an ETag of a plan",
                value=tag,
                cure='send an ETag as GET /v1/plan returns it, such as "12"',
            )
        return int(digits)


@dataclass(frozen=True, slots=True)
class _Route:
    """A handler and its query parameters; if ``lenient``, others are ignored."""

    answer: Callable[[_Call], Response | Steps]
    parameters: frozenset[str]
    lenient: bool


class Service:
    """The admin endpoint of one registry, with one access policy.  Safe from any thread."""

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
        """Return the service for ``settings``; ``registry`` defaults to the default registry."""
        home = default_registry() if registry is None else registry
        return cls(
            home,
            AccessPolicy.of(settings),
            seed=settings.seed,
            limits=settings.limits,
            audit=Audit.of(settings),
        )

    def knows(self, request: Request) -> bool:
        """Return whether headers and address of this client suggest that it has access."""
        return self._policy.knows(request)

    def stop_first(self, request: Request) -> bool:
        """Disable this process if the request asks for that, before its body has arrived.

        Return whether it did; if so, the caller need not wait for the body.  `steps` does the rest.
        """
        if not is_order_to_disable(request) or not self.knows(request):
            return False  # `steps` counts a wrong token, once
        try:
            self._policy.check(request)
        except Problem:
            return False  # `steps` answers with the reason
        self._registry.disable(by=_by(request))
        return True

    def answer(self, request: Request) -> Response:
        """Return the response to ``request``; this thread waits for the other workers."""
        return transparently(partial(run_blocking, self.steps(request)))

    def steps(self, request: Request) -> Steps:
        """Answer ``request`` in steps, for callers that wait in another way than `answer`.

        Run the steps with every point transparent, and close them if the client disconnects.
        """
        change = _Change()
        try:
            response = yield from self._answer(request, change)
        except GeneratorExit:
            change.detail = "the client disconnected before the response"
            self._record(request, None, change)  # the write stays in force
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
            known = meant in self._routes and meant + "/" != _POINTS  # "/v1/points/" has no name
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
        # Comparing a long name with every point would be slow.
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
        rules = [entry.seeded.model_dump(mode="json") for entry in _live(desired)]
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
            return self._preview(call, plan, None)
        result = yield from self._put_into_force(call, plan)
        return reply(200, result, headers={"etag": f'"{result["generation"]}"'})

    def _put(self, call: _Call) -> Steps:
        name = call.name
        points = self._views.known(name)
        plan = Plan(rules=parse_rules(rule_keys(name, call.request), point=name))
        if flag(call.query, "dry_run"):
            return self._preview(call, plan, name)
        result = yield from self._put_into_force(call, plan, name)
        return reply(200, {**self._views.point(name, points), **result})

    def _put_into_force(self, call: _Call, plan: Plan, name: str | None = None) -> Written:
        call.change.rules = plan.rules
        put = self._changes.put(plan, name=name, by=call.by, expected=call.expected)
        return (yield from call.written(put))

    def _preview(self, call: _Call, plan: Plan, name: str | None) -> Response:
        rules, remarks = self._changes.dry_run(plan, name)
        desired = self._reconciler().store.read()
        self._changes.put_edit(plan, name=name, by=call.by, expected=call.expected)(desired)
        replaced = [entry.rule for entry in _live(desired) if name in (None, entry.rule.point)]
        taken = [] if name else desired.taken_away(plan.rules, now=moment())
        return reply(
            200,
            {
                "dry_run": True,
                "generation": desired.generation,
                "rules": preview(self._registry.engine, plan.rules, rules),
                "replaces": [unseeded(rule) for rule in replaced],
                "takes_away": [state_of_taken(entry, call.by) for entry in taken],
                "remarks": remarks,
            },
        )

    def _disarm(self, call: _Call) -> Steps:
        no_keys(call.request)
        pattern = call.name or "*"
        self._views.check_known(pattern)
        change = self._changes.disarm(pattern, by=call.by, expected=call.expected)
        return reply(200, (yield from call.written(change)))

    def _release(self, call: _Call) -> Steps:
        no_keys(call.request)
        self._views.check_known(call.name)
        change = self._changes.release(call.name, by=call.by)
        return reply(200, (yield from call.written(change)))

    def _renew(self, call: _Call) -> Steps:
        seconds = lifetime(call.request)
        self._views.check_known(call.name)
        change = self._changes.renew(call.name, seconds, by=call.by, expected=call.expected)
        result = yield from call.written(change)
        return reply(200, {**result, "rules": self._views.renewed(call.name)})

    def _enable(self, call: _Call) -> Steps:
        no_keys(call.request)
        return self._switch(call, self._changes.enable(by=call.by))

    def _disable(self, call: _Call) -> Steps:
        """Disable, whatever the body holds, and store the reason if it has one."""
        call.change.reason = reason = reason_of(call.request)
        return self._switch(call, self._changes.disable(by=call.by, reason=reason))

    def _switch(self, call: _Call, change: Written) -> Steps:
        result = yield from call.written(change)
        return reply(200, {**self._views.status(), **result})


def _paged(call: _Call, result: dict[str, object]) -> Response:
    return reply(200, result, headers=call.page.link(result["next"]))


def _by(request: Request) -> str:
    """Return the address of the client, with the name that it sent of its user."""
    address = f"http {request.client or 'local'}"
    name = one_line(request.headers.get(OPERATOR, ""), most=60)
    return f"{address} ({name})" if name else address


def _live(desired: Desired) -> list[Entry]:
    now = desired.time(moment())
    return [entry for entry in desired.entries if entry.seconds_left(now) > 0]


def _without_values(error: Exception) -> str:
    """Return which part of a rule is refused, without its value, for the audit log."""
    if not isinstance(error, InvalidPlan):
        return ""
    return f"{': '.join(filter(None, (error.rule, error.field))) or 'the body'} is refused"


def _problem_of(error: Exception, request: Request) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, ChaosError):
        return problem_of(error)
    if isinstance(error, BadMark):
        mark = str(error)
        return Problem(
            400,
            "bad-query",
            f"after is {show(mark)}, which is not a mark of {request.path}",
            field="after",
            value=show(mark),
            cure="send the `next` of the previous page, or leave `after` out for the first page",
        )
    _log.exception("%r failed inside chaospoint", f"{request.method} {request.path}")
    return Problem(500, "bug", "this is a bug in chaospoint; its log has the details")
