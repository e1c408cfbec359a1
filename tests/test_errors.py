"""Errors go to other processes, and into logs, as they are."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from threading import Lock

import pytest

import chaospoint
from chaospoint import errors
from chaospoint.errors import ChaosError, InvalidPlan, StoreError, UnknownPoint
from chaospoint.stores.files import Missing


class Odd(Exception):
    """Pickles and cannot be unpickled, as many exceptions of the world."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason)


PLAN = {"rule": "rule 'a.b'", "field": "latency", "value": [1, "x"], "cure": "write 2 s"}
MADE: list[BaseException] = [
    InvalidPlan("latency=[1]: not a duration", **PLAN),  # type: ignore[arg-type]
    InvalidPlan("says nothing"),
    UnknownPoint("a.c", ("a.b", "a.d")),
    UnknownPoint("a.c"),
    Missing("the store is not there"),
]
MADE += [
    kind("what happened: 'the value'; the cure")
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, BaseException) and kind not in (InvalidPlan, UnknownPoint)
]
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WAYS: list[Callable[[BaseException], BaseException]] = [copy.copy, copy.deepcopy]
WAYS += [lambda error, n=n: pickle.loads(pickle.dumps(error, n)) for n in PROTOCOLS]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_every_error_pickles_and_copies_as_itself(
    error: BaseException, way: Callable[[BaseException], BaseException]
) -> None:
    error.__dict__.setdefault("__notes__", ["a note"])
    same = way(error)
    assert type(same) is type(error)
    assert same is not error
    assert (str(same), repr(same), same.args) == (str(error), repr(error), error.args)
    assert vars(same) == vars(error)


@pytest.mark.parametrize("value", [lambda: 1, Lock(), Odd(reason="no"), Odd])
def test_a_value_that_does_not_survive_pickling_is_shown(value: object) -> None:
    error = InvalidPlan("no good", value=value, field="returns")
    same = pickle.loads(pickle.dumps(error))
    assert same.value == (value if value is Odd else repr(value))
    assert same.field == "returns"
    assert copy.deepcopy(error).value is copy.copy(error).value is value


def test_a_subclass_with_arguments_of_its_own_survives() -> None:
    error = Told("here", place=3)
    same = pickle.loads(pickle.dumps(error))
    assert (type(same), str(same), same.place) == (Told, "told of here", 3)
    assert isinstance(same, StoreError)


class Told(StoreError):
    def __init__(self, what: str, *, place: int) -> None:
        super().__init__(f"told of {what}")
        self.place = place


def _refused() -> None:
    chaospoint.point("errors.known")
    chaospoint.arm("errors.knwon", returns=1, strict=True)


def test_an_error_comes_out_of_another_process_as_it_was() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(
            UnknownPoint, match=r"^no point is named 'errors.knwon': did you mean"
        ) as one,
    ):
        pool.submit(_refused).result(timeout=60)
    assert (one.value.name, one.value.close) == ("errors.knwon", ("errors.known",))
    assert isinstance(one.value, ChaosError)
