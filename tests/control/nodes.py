"""Workers of one store in one process, each with a registry of its own and an admin endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaospoint import Registry
from chaospoint.control.http import Request, Response
from chaospoint.control.service import Service
from chaospoint.sources.settings import Settings
from chaospoint.stores.reconciler import Reconciler, forget, use
from chaospoint.stores.store import Store
from chaospoint.testing import FakeClock

__all__ = ["FAULT", "Node", "Nodes", "finished", "request"]

FAULT = {"exception": "KeyError"}


def request(
    method: str,
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
    client: str = "127.0.0.1",
) -> Request:
    """Return a request as an adapter makes it."""
    raw = b"" if body is None else json.dumps(body).encode()
    sent = {"host": "127.0.0.1:8475"}
    if raw:
        sent |= {"content-type": "application/json", "content-length": str(len(raw))}
    path, _, query = path.partition("?")
    return Request(method, path, sent | (headers or {}), raw, client, query)


def finished(steps: Any, meanwhile: Callable[[float], object] = lambda seconds: None) -> Response:
    """Drive the steps of a service to the answer; ``meanwhile`` is called where one would wait."""
    while True:
        try:
            seconds = next(steps)
        except StopIteration as end:
            answer: Response = end.value
            return answer
        meanwhile(seconds)


class Node:
    """One worker."""

    def __init__(self, store: Store, settings: Settings, clock: FakeClock | None) -> None:
        self.store = store
        self.registry = Registry(clock=clock)
        self.settings = settings
        self.others: list[Node] = []
        self._placed: list[Callable[[], str]] = []  # a placement ends with its function
        self.reconciler = Reconciler(
            store, self.registry, seed=settings.seed, limits=settings.limits
        )
        use(self.registry, self.reconciler)
        self.service = Service.of(settings, self.registry)

    def follow(self) -> None:
        """Make a round, as the thread of a process does every 100 ms."""
        self.reconciler.reconcile()

    def place(self, name: str) -> Callable[[], str]:
        """Place the point on a new function."""

        @self.registry.point(name)
        def function() -> str:
            return "done"

        self._placed.append(function)
        return function

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """Ask the admin endpoint of this worker; the others go on meanwhile."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        steps = self.service.steps(request(method, path, body, named))
        return finished(steps, lambda _: [other.follow() for other in self.others])

    def done(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Ask what has to be answered well, and return the answer."""
        answer = self.ask(method, path, body, **headers)
        assert answer.status == 200, answer.body.decode()
        return json.loads(answer.body)

    def refused(self, status: int, kind: str, *asked: Any, **headers: str) -> Any:
        """Ask what has to be refused, and return the problem document."""
        answer = self.ask(*asked, **headers)
        assert answer.status == status, answer.body.decode()
        document = json.loads(answer.body)
        assert document["type"] == f"urn:chaospoint:problem:{kind}"
        assert document["status"] == status
        return document

    @property
    def rules(self) -> list[str]:
        """The texts of what is armed, in the order in which it is tried."""
        return [rule.text for rule in self.registry.rules()]

    @property
    def refusal(self) -> str:
        """What the store was told that this worker refuses."""
        (own,) = [one for one in self.store.workers() if one.id == self.reconciler.id]
        return own.refusal


class Nodes:
    """Makes workers of one store; ``open_store`` opens it for one more process."""

    def __init__(self, open_store: Callable[[], Store], path: Path) -> None:
        self.path = path
        self._open = open_store
        self._made: list[Node] = []

    def __call__(self, settings: Settings | None = None, *, clock: FakeClock | None = None) -> Node:
        """Make one worker more, whose process has not yet made a round."""
        node = Node(self._open(), settings or Settings(enabled=True), clock)
        for other in self._made:
            other.others.append(node)
            node.others.append(other)
        self._made.append(node)
        return node

    def end(self) -> None:
        """End all of them."""
        for node in self._made:
            node.reconciler.rounds.stop()
            node.reconciler.leave()
            node.registry.disarm()
            node.registry.engine.housekeeper.stop()
            forget(node.registry, node.reconciler)
