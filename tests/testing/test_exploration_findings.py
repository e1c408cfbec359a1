"""Exploration finds planted bugs: three classic mistakes, and each call moved out of its try."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from chaospoint import Registry
from chaospoint.testing import Exploration, explore

BOOKING = Path(__file__).with_name("booking.py")
SEED = 20
MUTANTS = 30


class BankDown(Exception):
    pass


class Shop:
    """Charges an order, saves it and mails the customer, without a bug."""

    def __init__(self, registry: Registry) -> None:
        self.charges: dict[str, int] = {}
        self.cents_charged = 0
        self.orders: dict[str, str] = {}
        self._charge = registry.point("bank.charge", raises=BankDown)(self.bank)
        self._save = registry.point("orders.save", raises=OSError)(self.orders.__setitem__)
        self._mail = registry.point("mail.send", raises=OSError)(lambda: None)

    def bank(self, cents: int, key: str | None = None) -> None:
        if key not in self.charges:
            self.cents_charged += cents
            if key is not None:
                self.charges[key] = cents

    def order(self) -> str:
        paid = self.pay()
        for _ in range(2):
            try:
                self._save("order", "paid" if paid else "pending")
                break
            except OSError:
                continue
        self.tell()
        return "paid" if paid else "pending"

    def pay(self) -> bool:
        for _ in range(2):
            try:
                self._charge(100, key="order")
                return True
            except BankDown:
                continue
        return False

    def tell(self) -> None:
        for _ in range(2):
            try:
                self._mail()
                break
            except OSError:
                continue


class WithoutRetry(Shop):
    def tell(self) -> None:
        self._mail()


class NotIdempotent(Shop):
    def pay(self) -> bool:
        for _ in range(2):
            try:
                self._charge(100)  # no key: done and not heard of is done twice
                return True
            except BankDown:
                continue
        return False


class Swallows(Shop):
    def pay(self) -> bool:
        try:
            self._charge(100, key="order")
        except BankDown:
            pass  # and the order is kept as paid
        return True


def explored(kind: type[Shop]) -> Exploration:
    registry = Registry()

    def scenario() -> None:
        shop = kind(registry)
        told = shop.order()
        assert shop.orders["order"] == told, "the customer was told what was not kept"
        assert shop.cents_charged <= 100, "charged twice"
        assert told != "paid" or shop.cents_charged == 100, "paid, and not charged"

    return explore(scenario, registry=registry)


@pytest.mark.parametrize(
    ("kind", "case", "escaped"),
    [
        (WithoutRetry, "mail.send#1 raise(OSError)", "OSError"),
        (WithoutRetry, "mail.send#1 after raise(OSError)", "OSError"),
        (NotIdempotent, "bank.charge#1 after raise(", "AssertionError: charged twice"),
        (Swallows, "bank.charge#1 raise(", "AssertionError: paid, and not charged"),
    ],
)
def test_a_planted_fault_is_found(kind: type[Shop], case: str, escaped: str) -> None:
    (found,) = (one for one in explored(kind).findings if one.case.startswith(case))
    assert found.escaped.startswith(escaped)


@pytest.mark.parametrize("kind", [WithoutRetry, NotIdempotent, Swallows])
def test_nothing_but_the_planted_fault_is_found(kind: type[Shop]) -> None:
    found = explored(kind)
    assert found.exhaustive
    assert len({one.point for one in found.findings}) == 1


def test_the_mended_versions_pass() -> None:
    found = explored(Shop)
    assert found.exhaustive
    assert not found.findings
    assert len(found.cases) == 9


# -- mutants ------------------------------------------------------------------------------


def _calls(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Yield the mutable statements of each ``try``: the first, and the last if it is a call."""
    for nth, node in enumerate(_tries(tree)):
        for place in dict.fromkeys((0, len(node.body) - 1)):
            if any(isinstance(one, ast.Call) for one in ast.walk(node.body[place])):
                yield nth, place


def _tries(tree: ast.Module) -> list[ast.Try]:
    """Return the statements that run without a fault, so none in an error handler."""
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    inner = {id(node) for handler in handlers for node in ast.walk(handler)}
    tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    return [node for node in tries if id(node) not in inner]


class _Move(ast.NodeTransformer):
    """Moves the first statement of a ``try`` before it, or its last one after it."""

    def __init__(self, target: ast.Try, place: int) -> None:
        self._target = target
        self._place = place

    def visit_Try(self, node: ast.Try) -> Any:
        if node is not self._target:
            return self.generic_visit(node)
        moved = node.body.pop(self._place)
        if self._place:
            node.orelse.insert(0, moved)  # it runs where it ran, and no handler is for it
            return node
        node.body = node.body or [ast.Pass()]
        return [moved, node]


def mutated(tree: ast.Module, nth: int, place: int) -> ast.Module:
    mutant = deepcopy(tree)
    return ast.fix_missing_locations(_Move(_tries(mutant)[nth], place).visit(mutant))


def booked(tree: ast.Module) -> Exploration:
    names: dict[str, Any] = {"__name__": "booking"}
    exec(compile(tree, str(BOOKING), "exec"), names)
    return explore(names["book"], registry=names["registry"], latency=None, after=False)


TREE = ast.parse(BOOKING.read_text(encoding="utf-8"))
CHOSEN = random.Random(SEED).sample(sorted(_calls(TREE)), MUTANTS)


def test_the_mutants_differ() -> None:
    texts = {ast.unparse(mutated(TREE, *one)) for one in CHOSEN}
    assert len(texts | {ast.unparse(TREE)}) == MUTANTS + 1


@pytest.mark.parametrize(("nth", "place"), CHOSEN)
def test_a_call_outside_of_its_try_is_found(nth: int, place: int) -> None:
    moved = ast.unparse(_tries(TREE)[nth].body[place])
    found = booked(mutated(TREE, nth, place))
    assert found.findings, moved
    assert all(one.injected for one in found.findings), moved


def test_the_service_as_it_was_copes_with_everything() -> None:
    found = booked(TREE)
    assert not found.findings
    assert len(found.cases) > MUTANTS


def test_a_call_that_only_a_fault_brings_about_is_said() -> None:
    """A fallback is not failed in turn, because it does not run without a fault."""
    assert booked(TREE).left_out == (
        "text.again: reached only under a fault, first in mail.send#1 raise(Down), and not "
        "failed itself",
    )
