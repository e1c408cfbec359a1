"""Whatever comes in from outside, nothing but a plan or a `ChaosError` comes out."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from helpers import some_or_all
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaospoint.errors import ChaosError
from chaospoint.plan import Plan, Rule, parse_plan
from chaospoint.plan.compiling import compile_plan

fuzz = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def outcome(read: Any, data: Any) -> str:
    """Say what became of the data; a plan that was read has to be written, read and compiled."""
    try:
        plan = read(data)
    except ChaosError:
        return "refused"
    if isinstance(plan, Rule):
        plan = Plan(rules=[plan])
    assert Plan.parse(str(plan)) == plan
    try:
        compile_plan(plan, trust="loaded")
    except ChaosError:
        return "not compiled"
    return "compiled"


GOOD = r"""
    latency(200ms)  raise  raise(OSError)  raise(OSError, "x; y", 1)  return  return(5)
    return({"a": [1]})  return( bare words )  return(0012)  hang  hang(1.5s)  off  sleep(100)
    delay(2 s)  panic("m")  panic(m, m)  print  yield  pause  5%off  30 % 2 * yield
    2*.5%raise(sqlite3.OperationalError)  latency(1)+raise  print(m)+pause->off
    2*off->return(1)  30%5*latency(1s)+raise("a->b")  off[every=2]  off [to=db, n=(1, "x")]->off
    latency(1s, jitter=5ms)+raise [failure_rate=30%, seed=7, expires_after=5m, where.times=[1]]
    raise([{"type": "OSError", "weight": 2}, "KeyError"])  off [when=after, "a b"={"x": "]"}]
"""
BITS = r"""
    exception  call  slep  Raise  off(3)  latency(-1)  hang(9999d)  raise(KeyboardInterrupt)
    raise(StopIteration)  raise(os.path)  raise(no.such)  (  )  =  ;  ->  +  %  *  ,  "  '  [  ]
    {  }  \  :  -  a  a.b=  payment.*=  A=  ..  é  5%  2*  101%  0*  1.5*  3*3*  (1, 2)  ()  (NaN)
    ('x')  (1e999)  0  5  007  1.5  .5  1e3  -1  NaN  Infinity  200ms  2 m  fast  null  true  None
    OSError  no.such.Thing  "text"  "a;b->c"  "<code only>"  {"a": 1}  [1, 2]  ("\ud800")
    [every=2]  [to=db  , x=(a, b)]  [when=]  every=  where.  jitter=1  [seed=-1]  [point=b]
    {"point": "a", "hang": true}  {"rules": []}  {"seed": 7, "rules": ["a=off"]}  {"point":
    [evry=2]
"""


def phrases(table: str) -> list[str]:
    return re.split(r"\s{2,}", table.strip())


good = phrases(GOOD)
bits = st.sampled_from(
    [*good, *phrases(BITS), *" \t\n\0\ud800\u2028\U0001f600", "9" * 25, "9" * 700, "[[" * 40]
)
names = ["a", "payment.charge ", "db.*", "a-b_c.0"]
entries = st.sampled_from([f"{name}={chain}" for name in names for chain in good])
sane = st.lists(entries, min_size=1, max_size=3).map("; ".join)
mutated = st.builds(
    lambda text, at, length, bit: text[:at] + bit + text[at + length :],
    entries,
    st.integers(0, 30),
    st.integers(0, 4),
    bits,
)
texts = st.one_of(
    sane, mutated, mutated, st.lists(bits, max_size=8).map("".join), st.text(max_size=20)
)


@some_or_all("examples", 1_000, 5_000)
def test_no_text_gets_anything_but_rules_or_a_chaos_error(examples: int) -> None:
    seen: Counter[str] = Counter()

    @settings(fuzz, max_examples=examples)
    @given(texts)
    def run(text: str) -> None:
        seen[outcome(Plan.parse, text)] += 1
        outcome(Rule.parse, text)
        outcome(parse_plan, [{"point": "a", "rule": text}])

    run()
    assert seen.total() >= examples
    assert min(seen["refused"], seen["compiled"]) > examples / 20, seen


NUMBERS = [0, 1, -1, 0.5, 3, 2**62, 2**70, 10**400, 10**700, -0.0, 1e-320, 1e300, 1e8]
WORDS = """
    a a.b payment.* 1s 200ms -1s OSError int no.such sqlite3.OperationalError StopIteration os.path
    KeyboardInterrupt before after process context uniform normal lognormal latency off print delay
    exception 5%raise(OSError) 2*off->return({}) of+
"""
ODD = [None, True, False, float("nan"), float("inf"), "", "9" * 5000, "<code only>", "\ud800", b"x"]
DATA = [(), [], {}, [[]], {"": 1}, {1: 2}, {"a": {"b": [1, "\udc80"]}}, OSError, len]
VALUES = [*NUMBERS, *WORDS.split(), *ODD, *DATA]
PAIRS: list[tuple[object, object]] = [
    ("latency", "1s"),
    ("latency", {"seconds": 1, "jitter": "1s", "distribution": "lognormal"}),
    ("exception", {"type": "OSError", "args": [1, "x"]}),
    ("exception", ["OSError", {"args": [1], "weight": 3}]),
    ("failure_rate", 0.3),
    ("returns", None),
    ("returns", {"a": [1]}),
    ("hang", "30s"),
    ("faults", [{"kind": "print", "message": "m"}, {"kind": "yield"}]),
    ("faults", [{"kind": "exception", "exception": ["OSError"], "rate": 0.5}]),
    ("rule", "off"),
    ("rule", "30%raise(OSError)->2*return(1)"),
    ("where", {"tenant": ["a", 3]}),
    *{"probability": 0.5, "skip": 3, "every": 2, "times": 1, "max_active": 3}.items(),
    *{"when": "after", "seed": 7, "expires_after": "10m", "point": "b.*"}.items(),
]
KEYS = """
    call scope kind seconds jitter distribution type args kwargs weight rate value message tenant
    rules latancy
"""
keys = st.sampled_from(
    [*(key for key, _ in PAIRS), *KEYS.split(), "", "\ud800", "x" * 200, 1, None, 10**700]
)
pairs = st.sampled_from(PAIRS)
values = st.sampled_from(VALUES)
junk = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=4,
)
bad_pairs = st.tuples(keys, values | junk)
rules = st.one_of(
    st.lists(pairs, min_size=1, max_size=3),
    st.lists(pairs | bad_pairs, max_size=3),
).map(lambda found: {"point": "a", **dict(found)})
plans = st.one_of(
    st.lists(rules, min_size=1, max_size=2),
    rules.map(lambda rule: {"rules": [rule], "seed": 7}),
    st.builds(lambda pair, rule: {"rules": [rule], pair[0]: pair[1]}, bad_pairs, rules),
    st.lists(junk, max_size=2),
    junk,
)


@some_or_all("examples", 1_000, 5_000)
def test_no_data_gets_anything_but_a_plan_or_a_chaos_error(examples: int) -> None:
    seen: Counter[str] = Counter()

    @settings(fuzz, max_examples=examples)
    @given(plans)
    def run(data: Any) -> None:
        seen[outcome(parse_plan, data)] += 1

    run()
    assert seen.total() >= examples
    assert min(seen["refused"], seen["compiled"]) > examples / 20, seen
