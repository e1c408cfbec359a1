"""A request in, an answer out: no socket, no thread, and no point acts in here.

A write is in force when its answer is returned.  Nothing but `BaseException`s that are no
`Exception` leaves `Service.answer`; a refusal is a problem document, and so is a bug.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus

from chaospoint._epoch import ArmedRule
from chaospoint._explain import gone_from
from chaospoint._inside import transparent
from chaospoint._names import is_glob, matches
from chaospoint._point import Point
from chaospoint._registry import Registry, default_registry
from chaospoint._version import __version__
from chaospoint.arming import install_plan
from chaospoint.control.body import keys_of, no_keys
from chaospoint.control.door import Door
from chaospoint.control.messages import Request, Response, reply
from chaospoint.control.metrics import scrape
from chaospoint.control.problem import Problem, problem_of
from chaospoint.control.state import state_of_point, state_of_rules
from chaospoint.errors import ChaosError, LimitExceeded, UnknownPoint
from chaospoint.plan import Plan, parse_rules
from chaospoint.settings import Permission, Settings
from chaospoint.sources import reports

__all__ = ["EXPIRES_AFTER_SECONDS", "MAX_RULES", "Service"]

EXPIRES_AFTER_SECONDS = 600.0
"""When a rule armed here ends by itself, if it does not say."""

MAX_RULES = 100
"""How many rules one request may put on a name."""

ROUTES = (
    "GET /v1/status",
    "GET|DELETE /v1/points",
    "GET|PUT|DELETE /v1/points/{name}",
    "POST /v1/points/{name}/release",
    "POST /v1/enable",
    "POST /v1/disable",
    "GET /metrics",
)
_POINTS = "/v1/points/"
_log = logging.getLogger("chaospoint")

Handler = Callable[[Request, str], Response]


class Service:
    """The admin endpoint of one registry, behind one door. Safe from any thread."""

    def __init__(self, registry: Registry, door: Door, *, seed: int | None = None) -> None:
        self._registry = registry
        self._door = door
        self._seed = seed
        self._routes: Mapping[str, Mapping[str, Handler]] = {
            "/v1/status": {"GET": self._status},
            "/v1/points": {"GET": self._list, "DELETE": self._disarm},
            _POINTS: {"GET": self._show, "PUT": self._put, "DELETE": self._disarm},
            f"{_POINTS}/release": {"POST": self._release},
            "/v1/enable": {"POST": self._enable},
            "/v1/disable": {"POST": self._disable},
            "/metrics": {"GET": self._metrics},
        }

    @classmethod
    def of(cls, settings: Settings, registry: Registry | None = None) -> Service:
        """Return the service that ``settings`` describe, of the default registry if none."""
        home = default_registry() if registry is None else registry
        return cls(home, Door.of(settings), seed=settings.seed)

    def answer(self, request: Request) -> Response:
        """Return the answer to ``request``."""
        with transparent():
            try:
                response = self._answer(request)
            except Problem as problem:
                response = problem.response()
            except ChaosError as error:
                response = problem_of(error).response()
            except Exception:
                _log.exception("%s %s failed inside chaospoint", request.method, request.path)
                response = Problem(
                    500, "bug", "this is a bug in chaospoint; its log has the details"
                ).response()
        return replace(response, body=b"") if request.method == "HEAD" else response

    def _answer(self, request: Request) -> Response:
        self._door.check(request)
        path, name = request.path, ""
        if path.startswith(_POINTS):
            name, slash, action = path.removeprefix(_POINTS).partition("/")
            path = f"{_POINTS}{slash}{action}"
        methods = self._routes.get(path)
        if methods is None or (path.startswith(_POINTS) and not name):
            raise Problem(
                404, "unknown-route", f"there is nothing at {request.path!r}", routes=ROUTES
            )
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
            raise Problem(
                405,
                "method-not-allowed",
                f"{request.method} means nothing at {request.path!r}; there are {allow}",
                headers={"allow": allow},
            )
        return handler(request, name)

    # Reads

    def _status(self, _request: Request, _name: str) -> Response:
        registry, permission = self._registry, self._door.permission
        return reply(
            200,
            {
                "version": __version__,
                "pid": os.getpid(),
                "enabled": registry.enabled,
                "environment": self._door.environment,
                "allowed": permission.allowed,
                "may_arm": registry.enabled and permission.allowed,
                "why": _why(permission, registry.enabled),
                "sources": reports(registry),
                "points": len(registry.points()),
                "counts": "of this process alone",
                "rules": self._rules([*registry.rules(), *registry.board.ended()]),
            },
        )

    def _list(self, _request: Request, _name: str) -> Response:
        states = [self._of_point(point) for point in self._registry.points()]
        return reply(200, {"points": states})

    def _show(self, _request: Request, name: str) -> Response:
        return reply(200, self._state(name))

    def _metrics(self, _request: Request, _name: str) -> Response:
        self._registry.flush()
        media, text = scrape()
        return reply(HTTPStatus.OK, text, media=media)

    # Writes

    def _put(self, request: Request, name: str) -> Response:
        self._known(name)
        keys = keys_of(request)
        if not keys:
            raise Problem(
                400 if not request.body else 422,
                "empty-rule",
                f"what is to happen at {name!r} is missing",
                cure='send the keys of a rule, such as {"latency": "200ms"}',
            )
        there = keys.pop("point", name)
        if there != name:
            raise Problem(
                422,
                "other-point",
                f"the path says {name!r} and the body {there!r}",
                field="point",
                value=there,
                cure="leave `point` out of the body",
            )
        rules = parse_rules(keys, point=name)
        if len(rules) > MAX_RULES:
            raise LimitExceeded(
                f"{len(rules)} rules for {name!r} in one request, and {MAX_RULES} are the most: "
                "send fewer, or use a plan file"
            )
        install_plan(
            Plan(rules=rules),
            source="http",
            trust="loaded",
            registry=self._registry,
            seed=self._seed,
            expires_after=EXPIRES_AFTER_SECONDS,
            by=_by(request),
            replace=True,
            only=name,
        )
        return reply(200, self._state(name))

    def _disarm(self, request: Request, name: str) -> Response:
        no_keys(request)
        pattern = name or "*"
        self._something_there(pattern)
        return reply(200, {"disarmed": self._registry.disarm(pattern, by=_by(request))})

    def _release(self, request: Request, name: str) -> Response:
        no_keys(request)
        self._something_there(name)
        return reply(200, {"released": self._registry.release(name)})

    def _enable(self, request: Request, name: str) -> Response:
        no_keys(request)
        self._registry.enable(by=_by(request))
        return self._status(request, name)

    def _disable(self, request: Request, name: str) -> Response:
        no_keys(request)
        self._registry.disable(by=_by(request))
        return self._status(request, name)

    # Points

    def _known(self, name: str) -> list[Point]:
        registry = self._registry
        if is_glob(name):
            found = [point for point in registry.points() if matches(name, point.name)]
        else:
            point = registry.find(name)
            found = [] if point is None else [point]
        if not found:
            raise UnknownPoint(name, registry.nearest(name))
        return found

    def _something_there(self, pattern: str) -> None:
        """Raise `UnknownPoint` if neither a point nor a rule is meant; it need not be armed."""
        rules = (*self._registry.rules(), *self._registry.board.ended())
        if pattern != "*" and not any(matches(pattern, rule.pattern) for rule in rules):
            self._known(pattern)

    def _of_point(self, point: Point) -> dict[str, object]:
        return state_of_point(point, self._registry.rules(point.name))

    def _state(self, name: str) -> dict[str, object]:
        points = self._known(name)
        board = self._registry.board
        if is_glob(name):
            rules = [rule for rule in (*board.rules(), *board.ended()) if rule.pattern == name]
            names = [point.name for point in points]
            return {"name": name, "points": names, "rules": self._rules(rules)}
        (point,) = points
        rules = [
            *board.rules(name),
            *gone_from(board, name),
        ]
        return {**self._of_point(point), "rules": self._rules(rules, point)}

    def _rules(
        self, rules: Sequence[ArmedRule], point: Point | None = None
    ) -> list[dict[str, object]]:
        return state_of_rules(self._registry.board, rules, point)


def _why(permission: Permission, enabled: bool) -> str:
    if enabled:
        return permission.why
    if not permission.allowed:
        return f"{permission.why}; and the master switch is off"
    return f"the master switch is off; POST /v1/enable ends that ({permission.why})"


def _by(request: Request) -> str:
    return f"http {request.client or 'local'}"
