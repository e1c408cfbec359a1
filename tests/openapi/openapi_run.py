"""Runs of schemathesis against a real server, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import schemathesis
from helpers import FUNCTIONS, place
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import Status, events, from_schema

from chaospoint._registry.registry import Registry
from chaospoint.control.access import AccessPolicy
from chaospoint.control.server.admin import AdminServer
from chaospoint.control.service import Service
from chaospoint.control.throttle import Guesses
from chaospoint.sources.settings import Settings

SEED = 20

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)

ACCEPTED = (
    "200",
    "304",  # the client has the plan already
    "404",  # which points there are no schema says
    "412",  # nor the generation
    "422",  # each with a reason that `unexplained` knows
)
"""What may be answered to what the document allows."""

REFUSED = ("400", "404", "412", "422")
"""What may be answered to what the document forbids."""


@dataclass
class Run:
    """What schemathesis did and found.

    ``statuses``: how often each (operation, status) was seen. ``valid``: the same of the cases
    that the document allows. ``refusals``: the problems that answered valid bodies with 422.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    valid: Counter[tuple[str, int]] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    refusals: list[Mapping[str, Any]] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return self.statuses.total()

    @property
    def failed(self) -> set[str]:
        """The names of the checks that found something."""
        return {check for check, _, _ in self.failures}


def functions(registry: Registry) -> list[Any]:
    """Place points on functions of every kind, where every fault can act; nothing calls them, and
    who has the list keeps them alive."""
    names = ("db.commit", "db.query", "payment.charge")
    return [place(registry.point(name), kind) for name in names for kind in FUNCTIONS]


@contextmanager
def serving(registry: Registry, **tokens: str) -> Iterator[str]:
    """Serve the registry on a free port; give the URL."""
    settings = Settings(enabled=True, **tokens)
    # Each wrong token counts as the first, so that no refusal is held back for long.
    policy = replace(AccessPolicy.of(settings), guesses=Guesses(count(0.0, 100.0).__next__))
    server = AdminServer(Service(registry, policy), "127.0.0.1", 0, token=bool(tokens))
    assert server.open()
    try:
        yield str(server.url)
    finally:
        server.close()
        registry.disarm()


def run(
    url: str,
    registry: Registry,
    *,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    examples: int = 40,
    more: Mapping[str, int] | None = None,
    token: str = "",
    accepted: Sequence[str] = ACCEPTED,
    refused: Sequence[str] = REFUSED,
) -> Run:
    """Try the operations of the served document; ``more``: examples for some of them."""
    checks: dict[str, Any] = {"enabled": False, **{name: {"enabled": True} for name in CHECKS}}
    checks["positive_data_acceptance"]["expected-statuses"] = [*accepted]
    checks["negative_data_rejection"]["expected-statuses"] = [*refused]
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "cache": {"enabled": False},
            "continue-on-failure": True,
            "request-timeout": 10,
            "generation": {
                "max-examples": examples,
                "deterministic": True,
                "database": "none",
                "no-shrink": True,
            },
            "phases": {"stateful": {"enabled": False}},
            "operations": [
                {"include-operation-id": one, "generation": {"max-examples": most}}
                for one, most in (more or {}).items()
            ],
            "checks": checks,
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
        }
    )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json", config=config, headers=headers)
    schema.config.update(base_url=url)
    if only:
        schema = schema.include(operation_id=[*only])
    if without:
        schema = schema.exclude(operation_id=[*without])

    done = Run()
    with _before_each(registry):
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                _note(done, event)
            elif isinstance(event, events.NonFatalError | events.FatalError):
                done.errors.append(str(event))
    tried = {label for label, _ in done.statuses}
    assert tried <= {*only} or (not only and tried.isdisjoint(without))
    return done


@contextmanager
def _before_each(registry: Registry) -> Iterator[None]:
    def before_call(context: Any, case: Any, kwargs: Any) -> None:
        registry.enable()
        if _valid(case) and isinstance(case.body, dict) and "point" in case.body:
            # No schema says that it is the name in the path.
            case.body["point"] = case.path_parameters.get("name", case.body["point"])

    schemathesis.hook(before_call)  # there are none of one run alone
    try:
        yield
    finally:
        schemathesis.hooks.unregister(before_call)


def _valid(case: Any) -> bool:
    return bool(case.meta and case.meta.generation.mode.is_positive)


def _note(done: Run, event: events.ScenarioFinished) -> None:
    recorder = event.recorder
    for key, interaction in recorder.interactions.items():
        response = interaction.response
        case = recorder.cases[key].value
        label = case.operation.definition.raw["operationId"]
        if response is None:
            done.errors.append(f"{label} was not answered")
            continue
        done.statuses[label, response.status_code] += 1
        done.phases[event.phase.value] += 1
        if _valid(case):
            done.valid[label, response.status_code] += 1
            if response.status_code == 422:
                done.refusals.append(response.json())
    for checks in recorder.checks.values():
        for check in checks:
            if check.status is Status.FAILURE and check.failure_info is not None:
                failure: Failure = check.failure_info.failure
                told = f"{failure.title}: {failure.message}\n{check.failure_info.code_sample}"
                done.failures.append((check.name, recorder.label, told))
