"""Whatever stands in a store, nothing but a document or a `ChaosError` comes of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaospoint.errors import StoreError
from chaospoint.plan import Rule
from chaospoint.stores.desired import Desired
from chaospoint.stores.directory import DirectoryStore

pytestmark = pytest.mark.ci

EXAMPLES = 600

fuzz = settings(
    derandomize=True,
    deadline=None,
    max_examples=EXAMPLES,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

RULES = [
    Rule.parse('payment.charge=30%5*latency(200ms)+raise(TimeoutError,"slow bank")'),
    Rule(point="db.*", returns={"a": [1, None]}, where={"tenant": ["a", 3]}, expires_after="5m"),
    Rule(point="queue.publish", faults=[{"kind": "pause"}], skip=3, every=2, times=9, seed=4),
]
STEPS: list[Any] = [
    lambda one: one.put(
        [(rule, nth or None) for nth, rule in enumerate(RULES)],
        default_seconds=600.0,
        by="ops",
        now=1e9,
    ),
    lambda one: one.put([(RULES[0], 7)], name="a", default_seconds=0.5, by="", now=1e9 + 0.1),
    lambda one: one.disarm("db.query", by="ops", now=1e9),
    lambda one: one.release("*", by="ops", now=1e9),
    lambda one: one.enable(by="ops", now=1e9),
    lambda one: one.disable(by="ops", now=1e9),
]


def documents() -> list[Any]:
    """Return documents as data, from the empty one on."""
    found = [Desired()]
    for step in STEPS:
        found.append(step(found[-1]))
    return [json.loads(one.text()) for one in found]


DOCUMENTS = documents()
ODD: list[Any] = [None, True, False, 0, 1, -1, 2, 1.5, -0.0, 1e308, 2**53, 2**62, 2**70, 10**400]
ODD += [
    float("nan"),
    float("inf"),
    10**599,
    "",
    "x" * 401,
    "a.b",
    "*",
    "\ud800",
    "\0",
    [],
    {},
    [[]],
]
ODD += [{"": 1}, [None], [{}], ["a", "*.b"], {"point": "a"}, "disarm", [1] * 1001, 1e-320]
KEYS = """
    version generation enabled switched entries orders by at id rule armed_at expires_after seed
    excluded what pattern point faults kind value where latency rules
"""
keys = st.sampled_from([*KEYS.split(), "", "\ud800", "x" * 500])
values = st.recursive(
    st.sampled_from(ODD) | st.sampled_from(DOCUMENTS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=3,
)


def places(data: Any) -> list[tuple[Any, Any]]:
    """Return every place inside the data: what holds it, and its key there."""
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    if not isinstance(data, dict | list):
        return []
    found = [(data, key) for key, _ in inner]
    for _, key in list(found):
        found += places(data[key]) if isinstance(data[key], dict | list) else []
    return found


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Take something out of a good document, put something in, or put something else there."""
    data = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    for _ in range(draw(st.integers(0, 2))):
        found = places(data)
        if not found:
            break
        holder, key = draw(st.sampled_from(found))
        what = draw(st.sampled_from(["drop", "change", "change", "add"]))
        if what == "drop":
            del holder[key]
        elif what == "change":
            holder[key] = deepcopy(draw(values))
        elif isinstance(holder, dict):
            holder[draw(keys)] = deepcopy(draw(values))
        else:
            holder.append(deepcopy(draw(values)))
    return json.dumps(data).encode()


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Take out some bytes of a good document, or put in some others."""
    text = json.dumps(draw(st.sampled_from(DOCUMENTS))).encode()
    at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 5))
    bits = [
        b"",
        b"\xff",
        b"\0",
        b"}",
        b'"',
        b"1e999",
        b"NaN",
        b"[" * 90,
        b"9" * 700,
        b"\xef\xbb\xbf",
    ]
    return text[:at] + draw(st.sampled_from(bits)) + text[at + length :]


texts = st.one_of(mutated(), mutated(), mutated(), broken(), st.binary(max_size=40))


def test_no_bytes_give_anything_but_a_document_or_a_store_error(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    store = DirectoryStore(str(tmp_path / "store"))
    store.update(lambda one: one)
    document = tmp_path / "store" / "desired.json"
    longest = [0]

    @fuzz
    @given(texts)
    def run(data: bytes) -> None:
        try:
            parsed = Desired.parse(data)
        except StoreError as error:
            parsed = None
            longest.append(len(str(error)))
        with open(document, "wb") as file:
            file.write(data)
        os.utime(document, ns=(seen.total(), seen.total()))  # never twice the same
        try:
            assert store.read() == parsed
        except StoreError:
            assert parsed is None
        seen["read" if parsed else "refused"] += 1
        if parsed:
            assert Desired.parse(parsed.text()) == parsed
            assert Desired.parse(parsed.text().encode()).text() == parsed.text()

    run()
    assert seen.total() >= EXAMPLES
    assert max(longest) < 1000, "a message is for people"
    assert min(seen["refused"], seen["read"]) > EXAMPLES / 20, seen


def test_no_value_at_any_place_gives_anything_but_a_document_or_a_store_error() -> None:
    """Every value that is odd, at every place of a document that has all there can be."""
    fullest = DOCUMENTS[4]
    seen: Counter[bool] = Counter()
    for place, (_, key) in enumerate(places(fullest)):
        for odd in ODD:
            data = deepcopy(fullest)
            holder, _ = places(data)[place]
            holder[key] = odd
            try:
                parsed = Desired.parse(json.dumps(data))
            except StoreError:
                seen[False] += 1
            else:
                seen[True] += 1
                assert Desired.parse(parsed.text()) == parsed
    assert min(seen[False], seen[True]) > 200, seen
