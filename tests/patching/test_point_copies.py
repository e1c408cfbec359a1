"""A Point is its name wherever it is copied to."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest
from helpers import Boom

import chaospoint
from chaospoint import Point, Registry


def through_pickle(protocol: int) -> Callable[[Any], Any]:
    return lambda thing: pickle.loads(pickle.dumps(thing, protocol))


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": through_pickle(n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
}
in_every_way = pytest.mark.parametrize("way", COPIES)


class Repository:
    """Keeps a point, as services do that are copied into each job."""

    def __init__(self, query: Point) -> None:
        self.query = query

    def load(self) -> str:
        with self.query:
            return "row"

    async def aload(self) -> str:
        async with self.query:
            return "row"


@in_every_way
@pytest.mark.parametrize("state", ["never armed", "armed", "disarmed"])
def test_an_object_with_a_point_can_be_copied_at_any_time(way: str, state: str) -> None:
    point = chaospoint.point("copies.query")
    if state != "never armed":
        chaospoint.arm("copies.query", exception=Boom)
    if state == "disarmed":
        chaospoint.disarm("copies.query")
    made = COPIES[way](Repository(point))
    chaospoint.disarm("copies.query")
    assert made.query is point
    assert made.load() == "row"
    with chaospoint.armed("copies.query", exception=Boom), pytest.raises(Boom):
        made.load()


@in_every_way
def test_labels_and_raises_come_along(way: str) -> None:
    point = chaospoint.point("copies.query", labels={"tenant": "acme"}, raises=(KeyError, OSError))
    made = COPIES[way](Repository(point)).query
    assert (made.name, dict(made.labels), made.raises) == (
        "copies.query",
        {"tenant": "acme"},
        (KeyError, OSError),
    )
    assert made == point
    with chaospoint.armed("copies.query", exception=Boom, where={"tenant": "acme"}):
        with pytest.raises(Boom):
            made.hit()
        chaospoint.point("copies.query", labels={"tenant": "else"}).hit()


@pytest.mark.parametrize("way", ["copy", "deepcopy"])
def test_a_copy_of_a_point_of_ones_own_registry_is_the_same_point(way: str) -> None:
    registry = Registry()
    point = registry.point("copies.query", labels={"tenant": "acme"})
    made = COPIES[way](Repository(point)).query
    assert made.core is point.core
    assert COPIES[way](registry) is registry


@pytest.mark.parametrize("way", [way for way in COPIES if "pickle" in way])
def test_pickling_a_point_of_another_registry_raises_a_clear_error(way: str) -> None:
    registry = Registry()
    for point in (registry.point("copies.query"), registry.point("copies.query", raises=KeyError)):
        with pytest.raises(TypeError, match="pickle the name of the point"):
            COPIES[way](point)


def test_a_process_that_has_no_such_point_makes_it() -> None:
    point = chaospoint.point("copies.elsewhere", labels={"tenant": "acme"}, raises=OSError)
    program = (
        "import pickle, sys; point = pickle.loads(sys.stdin.buffer.read());"
        "import chaospoint;"
        "print(point.name, dict(point.labels), point.raises, "
        "'chaospoint._registry.engine' in sys.modules);"
        "print(chaospoint.point('copies.elsewhere').core is point.core)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(point),
        capture_output=True,
        timeout=60,
        check=True,
    )
    said = "copies.elsewhere {'tenant': 'acme'} (<class 'OSError'>,) False\nTrue\n"
    assert done.stdout.decode() == said
