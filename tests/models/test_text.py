"""The text form: what each text says, and how a mistake in it is shown."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest

from chaospoint.errors import InvalidPlan
from chaospoint.faults import Burn, Failure, Hang, Latency, Off, Pause, Print, Return, Yield
from chaospoint.plan import Plan, Rule


def rules(text: str, *, point: str = "a") -> tuple[Rule, ...]:
    """Return what the text says of one point."""
    return Plan.parse(f"{point}={text}").rules


def rule(*faults: Any, **keys: Any) -> Rule:
    return Rule(point="a", faults=faults, **keys)


def raising(*args: object, exception: str = "InjectedFault") -> Failure:
    return Failure(exception={"type": exception, "args": args})


FAIL_RS = {
    "off": [rule(Off())],
    "return": [rule(Return())],
    "return(1000)": [rule(Return(value=1000))],
    "return(64)": [rule(Return(value=64))],
    "return(2%5)": [rule(Return(value="2%5"))],
    "5*return": [rule(Return(), times=5)],
    "25%return": [rule(Return(), probability=0.25)],
    "sleep(1000)": [rule(Latency(seconds=1))],
    "delay(1000)": [rule(Burn(seconds=1))],
    "panic": [rule(Failure())],
    "panic(msg)": [rule(raising("msg"))],
    "print": [rule(Print())],
    "print(msg)": [rule(Print(message="msg"))],
    "yield": [rule(Yield())],
    "pause": [rule(Pause())],
    " 25%2*off ": [rule(Off(), probability=0.25, times=2)],
    "20%3*return(x)": [rule(Return(value="x"), probability=0.2, times=3)],
    "20%3*print(still alive!)->panic": [
        rule(Print(message="still alive!"), probability=0.2, times=3),
        rule(Failure()),
    ],
    "50%50*return(1)->50%50*return(-1)->50*return": [
        rule(Return(value=1), probability=0.5, times=50),
        rule(Return(value=-1), probability=0.5, times=50),
        rule(Return(), times=50),
    ],
}
GOFAIL = {
    'return("abc")': [rule(Return(value="abc"))],
    '2*return("abc")->1*return("def")': [
        rule(Return(value="abc"), times=2),
        rule(Return(value="def"), times=1),
    ],
    '1*return("abc")->return("def")': [
        rule(Return(value="abc"), times=1),
        rule(Return(value="def")),
    ],
    '10*sleep(10)->1*return("abc")': [
        rule(Latency(seconds="10ms"), times=10),
        rule(Return(value="abc"), times=1),
    ],
    "return()": [rule(Return())],
    "return(true)": [rule(Return(value=True))],
    "return(0012)": [rule(Return(value=12))],
    'return("")': [rule(Return(value=""))],
    r'return("a\"b")': [rule(Return(value='a"b'))],
    r'return("a\nb")': [rule(Return(value="a\nb"))],
    r'return("a\\b")': [rule(Return(value="a\\b"))],
    r'return("tab\there")': [rule(Return(value="tab\there"))],
    r'1*return("a\"b")->return("x")': [
        rule(Return(value='a"b'), times=1),
        rule(Return(value="x")),
    ],
    "sleep(100)": [rule(Latency(seconds="100ms"))],
    'sleep("13ms")': [rule(Latency(seconds="13ms"))],
    "12.5%off": [rule(Off(), probability=0.125)],
    "50.0%3*off": [rule(Off(), probability=0.5, times=3)],
}
OURS = {
    "latency(200ms)": [rule(Latency(seconds=0.2))],
    "raise": [rule(Failure())],
    "raise()": [rule(Failure())],
    "raise(TimeoutError)": [rule(Failure(exception=TimeoutError))],
    'raise("slow bank")': [rule(raising("slow bank"))],
    'raise(OSError, 5, "gone")': [rule(raising(5, "gone", exception="OSError"))],
    "raise(OSError, [1, {}], slow bank)": [
        rule(raising([1, {}], "slow bank", exception="OSError"))
    ],
    "raise(shop.bank.BankError)": [rule(Failure(exception="shop.bank.BankError"))],
    'panic("a, b")': [rule(raising("a, b"))],
    "panic(a, b)": [rule(raising("a, b"))],
    "hang": [rule(Hang())],
    "hang(30s)": [rule(Hang(seconds=30))],
    'return({"a": [1, null]})': [rule(Return(value={"a": [1, None]}))],
    "return(-0.5)": [rule(Return(value=-0.5))],
    "return(-007)": [rule(Return(value=-7))],
    "return(null)": [rule(Return())],
    "return( bare words )": [rule(Return(value="bare words"))],
    "30%5*latency(200ms)+raise(TimeoutError)": [
        rule(Latency(seconds=0.2), Failure(exception=TimeoutError), probability=0.3, times=5)
    ],
    "latency(200ms, jitter=50ms)": [rule(Latency(seconds=0.2, jitter="50ms"))],
    "latency(1, distribution = normal, jitter = .5)": [
        rule(Latency(seconds=1, jitter=0.5, distribution="normal"))
    ],
    'raise({"type": "OSError", "kwargs": {"x": 1}})': [
        rule(Failure(exception={"type": "OSError", "kwargs": {"x": 1}}))
    ],
    'raise(["OSError", {"type": "KeyError", "weight": 3}])': [
        rule(Failure(exception=["OSError", {"type": "KeyError", "weight": 3}]))
    ],
    "raise+print(m)+latency(1s)": [rule(Print(message="m"), Latency(seconds=1), Failure())],
    "0%off": [rule(Off(), probability=0)],
    "100%off": [rule(Off())],
    ".5%off": [rule(Off(), probability=0.005)],
    "5.%off": [rule(Off(), probability=0.05)],
}


@pytest.mark.parametrize(("text", "said"), [*FAIL_RS.items(), *GOFAIL.items(), *OURS.items()])
def test_a_text_says_its_rules(text: str, said: list[Rule]) -> None:
    assert rules(text) == tuple(said)
    assert Plan.parse("; ".join(map(str, said))).rules == tuple(said)


TAILS: dict[str, dict[str, Any]] = {
    "[every=3, skip = 2]": {"every": 3, "skip": 2},
    "[ to=db ,every=3,when=after,expires_after=5m ]": {
        "where": {"to": "db"}, "every": 3, "when": "after", "expires_after": 300,
    },
    "[times=2, probability=30%]": {"times": 2, "probability": 0.3},
    "[probability=0.07, max_active=1]": {"probability": 0.07, "max_active": 1},
    "[seed=7, scope=context, times=null]": {"seed": 7, "scope": "context"},
    "[expires_after=300]": {"expires_after": 300},
    "[to=db, tenant=(acme, b*)]": {"where": {"to": "db", "tenant": ["acme", "b*"]}},
    "[n=3, m=\"3\", x=null, y=true, z=-0.5]": {
        "where": {"n": 3, "m": "3", "x": None, "y": True, "z": -0.5},
    },
    "[a=(), b=(x), c=[], d=[\"x\"], e=(1, (2))]": {
        "where": {"a": [], "b": ["x"], "c": [], "d": ["x"], "e": [1, "(2)"]},
    },
    "[points=3, rules=x, calls=1, span=5m]": {
        "where": {"points": 3, "rules": "x", "calls": 1, "span": "5m"},
    },
    "[a={\"b\": [1]}]": {"where": {"a": {"b": [1]}}},
    "[where.times=3, where.where.x=1, \"every\"=2, \"a b\"=4]": {
        "where": {"times": 3, "where.x": 1, "every": 2, "a b": 4},
    },
    "[where={\"to\": \"db\", \"times\": 3}, n=1]": {"where": {"to": "db", "times": 3, "n": 1}},
    "[http.route=/cart/*, mail=a@b.c, day=2026-01-01, words=slow bank, part=30%]": {
        "where": {
            "http.route": "/cart/*", "mail": "a@b.c", "day": "2026-01-01", "words": "slow bank",
            "part": "30%",
        },
    },
    "[a=\"x]; y -> z\", b=x[1], c=p;q, d=a->b, größe=Müller]": {
        "where": {"a": "x]; y -> z", "b": "x[1]", "c": "p;q", "d": "a->b", "größe": "Müller"},
    },
}  # fmt: skip


@pytest.mark.parametrize(("tail", "keys"), TAILS.items())
def test_the_tail_says_the_other_keys(tail: str, keys: dict[str, Any]) -> None:
    wanted = rule(Off(), **keys)
    for text in (f"off{tail}", f"off {tail}", f"off\n{tail} "):
        assert rules(text) == (wanted,)
    assert Rule.parse(str(wanted)) == wanted
    both = f"b=raise [n=1]; a=off {tail} -> raise ; c=latency(1s)[every=2]->off"
    assert Plan.parse(both) == Plan(
        rules=[
            Rule(point="b", exception={}, where={"n": 1}),
            wanted,
            rule(Failure()),
            Rule(point="c", latency=1, every=2),
            Rule(point="c", faults=[Off()]),
        ]
    )


def test_the_rate_of_a_failure_stands_in_the_tail() -> None:
    assert rules("latency(1)+raise(OSError) [failure_rate=30%]") == (
        Rule(point="a", latency=1, exception=OSError, failure_rate=0.3),
    )
    assert rules("raise(OSError)+return(5) [failure_rate=0.3]") == (
        Rule(point="a", exception=OSError, failure_rate=0.3, returns=5),
    )
    assert rules("50%raise(OSError) [failure_rate=0.5]") == rules("25%raise(OSError)")
    assert rules("latency(1)+raise [failure_rate=100%]") == rules("latency(1)+raise")


@pytest.mark.parametrize("text", ["5%2*off", "2*5%off", " 5 % 2 * off ", "2*\n5%\toff"])
def test_the_prefixes_stand_in_either_order(text: str) -> None:
    assert rules(text) == (rule(Off(), probability=0.05, times=2),)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("sleep(100)", 0.1),
        ("sleep(100.)", 0.1),
        ("sleep(.5)", 0.0005),
        ('sleep("100")', 0.1),
        ("sleep(2s)", 2.0),
        ("delay(100)", 0.1),
        ("delay(2 s)", 2.0),
        ("latency(100)", 100.0),
        ("latency(.5)", 0.5),
        ('latency("100")', 100.0),
        ("latency(100ms)", 0.1),
        ("hang(100)", 100.0),
    ],
)
def test_bare_numbers_are_milliseconds_in_sleep_and_delay_alone(text: str, seconds: float) -> None:
    (found,) = rules(text)
    assert found.faults[0].model_dump()["seconds"] == seconds


@pytest.mark.parametrize("inside", [";", "->", "+", "%", ")", "(", ",", "=", "2*", "[", "}", r"\""])
def test_quoted_text_holds_what_parts_texts(inside: str) -> None:
    text = inside.replace(r"\"", '"')
    assert rules(f'return("{inside}")->off') == (rule(Return(value=text)), rule(Off()))
    assert rules(f'panic("{inside}")+print("{inside}")') == (
        rule(Print(message=text), raising(text)),
    )


def test_points_are_parted_by_semicolons_and_white_space_means_nothing() -> None:
    plan = [
        Rule(point="payment.charge", latency=1, exception=OSError, probability=0.3, times=5),
        Rule(point="payment.charge", faults=[Off()]),
        Rule(point="db.*", returns=[1, 2]),
    ]
    tight = "payment.charge=30%5*latency(1s)+raise(OSError)->off;db.*=return([1,2])"
    loose = """
        payment.charge = 30 % 5 * latency ( 1s ) + raise (
            OSError ) -> off ;
        ; db.*\t= return( [ 1 , 2 ] ) ;;
    """
    for text in (tight, loose, f";{tight};", f"\ufeff{tight}"[1:], tight.replace(";", "\r\n;")):
        assert Plan.parse(text) == Plan(rules=plan)


def test_only_the_first_equals_sign_parts_the_name() -> None:
    text = "a=return(x=1; y=2)->print(a=b=c)"
    assert Plan.parse(text).rules == (rule(Return(value="x=1; y=2")), rule(Print(message="a=b=c")))


def test_json_stands_for_a_rule_or_for_the_whole() -> None:
    seeded = '{"point": "a", "hang": true, "seed": 7}'
    hang, off = Rule(point="a", hang=True, seed=7), Rule(point="b", faults=[Off()])
    assert Rule.parse(seeded) == hang
    assert Plan.parse(f" {seeded} ") == Plan(rules=[hang])
    assert Plan.parse(f"{seeded} ; b=off; {seeded}") == Plan(rules=[hang, off, hang])
    assert Plan.parse(f"b=off;{seeded}") == Plan(rules=[off, hang])
    assert Plan.parse(f'[{seeded}, "b=off"]') == Plan(rules=[hang, off])
    assert Plan.parse(f'{{"seed": 3, "rules": [{seeded}]}}') == Plan(seed=3, rules=[hang])
    assert Plan.parse('[{"point": "b", "rule": "off"}]') == Plan(rules=[off])
    assert Plan.parse('{"rules": []}') == Plan.parse("[]") == Plan(rules=[])


FAULT = "expected a fault such as latency(200ms) or raise(TimeoutError)"
NEXT = "expected '+', '[', '->', ';' or the end"
JSON = "expected JSON: "

# The caret stands below the character that is named.
BAD = [
    (
        "payment.charge",
        "              ^",
        "expected '=' after 'payment.charge'; write a name and a fault, such as",
    ),
    ("=off", "^", "expected the name of a point or a glob"),
    ("a=", "  ^", FAULT),
    ("a=;b=off", "  ^", FAULT),
    ("a=off+", "      ^", FAULT),
    ("a=off->", "       ^", FAULT),
    ("a=off;b=off;c", "             ^", "expected '=' after 'c'"),
    ("a=off b=off", "      ^", NEXT),
    ("a=off, latency(1)", "     ^", NEXT),
    ("a=latency(1s))", "             ^", NEXT),
    ("a=5%", "    ^", FAULT),
    ("a=5off", "   ^", "expected '%' or '*' after '5'; write 5% for a share"),
    ("a=ab%return", "  ^", "'ab': not a known action"),
    ("a=ab*return", "  ^", "'ab': not a known action"),
    ("a=-5%off", "  ^", FAULT),
    ("a=101%off", "  ^", "expected a percentage from 0 to 100"),
    ("a=2*125%off", "    ^", "expected a percentage from 0 to 100"),
    ("a=0*off", "  ^", "expected a whole number from 1 before '*'"),
    ("a=1.5*off", "  ^", "expected a whole number from 1 before '*'"),
    ("a=5%6%off", "    ^", "expected a fault, because there is a '%' already"),
    ("a=2*5%3*off", "      ^", "expected a fault, because there is a '*' already"),
    ("a=Return", "  ^", "'Return': not a known action; did you mean 'return'?"),
    ("a=retrun(1)", "  ^", "'retrun': not a known action; did you mean 'return'?"),
    (
        "b=off->a=slep(5)",
        "       ^",
        "'a': not a known action; write one of: raise, panic, sleep, latency,",
    ),
    ("a=slep(5)", "  ^", "'slep': not a known action; did you mean 'sleep'?"),
    (
        "a=unknown",
        "  ^",
        "'unknown': not a known action; write one of: raise, panic, sleep, latency, return,",
    ),
    ("a=exception(OSError)", "  ^", "'exception': not a known action; write raise(Type)"),
    (
        "a=TimeoutError",
        "  ^",
        "'TimeoutError': not a known action; write raise(TimeoutError), or one of: ",
    ),
    ("a=call(f)", "  ^", "'call': not a known action; only code can give functions"),
    ("a=sleep", "  ^", "'sleep': takes one argument; write sleep(100)"),
    ("a=delay()", "  ^", "'delay': takes one argument; write delay(100)"),
    (
        "a=latency(1, 2)",
        "           ^",
        "'latency': takes one argument; write latency(200ms, jitter=",
    ),
    (
        "a=latency(1s,)",
        "            ^",
        "'latency': takes one argument; write latency(200ms, jitter=",
    ),
    ("a=hang(1, 2)", "        ^", "'hang': has too many arguments; write hang, or hang(30s)"),
    ("a=return(1, 2)", "          ^", "'return': has too many arguments; write return(\"1, 2\")\n"),
    (
        "a=return(10000,5000)",
        "              ^",
        "'return': has too many arguments; write return(\"10000,5000\")\n",
    ),
    (
        "a=off->1*return(dive in, where the SLA)",
        "                       ^",
        "'return': has too many arguments; write return(\"dive in, where the SLA\")\n",
    ),
    (
        'a=return("a", "b")',
        "            ^",
        "'return': has too many arguments; write one value: a list as return([1",
    ),
    ("a=sleep(1,5)", "         ^", "'sleep': takes one argument; write sleep(100)"),
    ("a=delay(1,5s)", "         ^", "'delay': takes one argument; write delay(100)"),
    ("a=yield(1, 2)", "        ^", "'yield': has too many arguments; write yield\n"),
    ("a=raise([1], 2)", "           ^", "'raise': takes one argument; write raise({"),
    ('a=raise({"typ": "OSError"})', "  ^", "'raise': typ='OSError': unknown key; did you mean"),
    (
        "a=latency(1s, jiter=2)",
        "              ^",
        "'latency': does not take 'jiter'; did you mean 'jitter'?",
    ),
    ("a=latency(1s, jitter=fast)", "                     ^", "not a duration: 'fast'; write"),
    (
        "a=latency(1s, jitter=1, jitter=2)",
        "                        ^",
        "'latency': 'jitter' is given twice; keep",
    ),
    ("a=latency(jitter=1s)", "  ^", "'latency': takes one argument; write latency(200ms)"),
    (
        "a=latency(1s, jitter=1s, distribution=flat)",
        "  ^",
        "'latency': distribution='flat': not a known",
    ),
    ("a=off(3)", "      ^", "'off': has too many arguments; write off\n"),
    ("a=latency( fast )", "           ^", "not a duration: 'fast'; write a number of seconds"),
    ("a=sleep(fast)", "        ^", "not a duration: 'fast'; write a number of milliseconds or a"),
    ("a=off;b=hang(-1)", "             ^", "a duration cannot be negative: '-1'; write"),
    ("a=raise(Timeoutrror)", "        ^", "no builtin has this name: 'Timeoutrror'; did you mean"),
    ("a=raise(a b)", "        ^", "not the name of an exception: 'a b'; write an exception class"),
    ("a=raise(StopIteration)", "        ^", "StopIteration controls generators and iteration"),
    ("a=raise(OSError,)", "                ^", f"{JSON}Expecting value"),
    ("a=raise(OSError, {x})", "                  ^", JSON),
    ('a=return({"a":1 "b":2})', "                ^", f"{JSON}Expecting ',' delimiter"),
    (r'a=return("a\qb")', "           ^", f"{JSON}Invalid"),
    ('a=return("a" b)', "             ^", f"{JSON}Expecting ',' or ')'"),
    ("a=return('a')", "         ^", f"{JSON}Expecting value; write null, true, false, a finite"),
    ("a=return(None)", "         ^", f"{JSON}Expecting value; write null, true, false, a finite"),
    ("a=return(True)", "         ^", f"{JSON}Expecting value; write null, true, false, a finite"),
    ("a=return(NaN)", "         ^", f"{JSON}NaN is not JSON"),
    ("a=return(-Infinity)", "         ^", f"{JSON}-Infinity is not JSON"),
    ("a=return(1e999)", "         ^", f"{JSON}the number 1e999 is too large"),
    (f"a=return({'9' * 700})", "         ^", f"{JSON}the number 999"),
    ("a=return(001.)", "            ^", f"{JSON}Expecting ',' or ')'"),
    ('a=return({"a":1,"a":2})', "         ^", f"{JSON}the key 'a' is given twice"),
    (
        'a=return("<code only>")',
        "  ^",
        "'return': this text stands for a value that only code can give",
    ),
    ('a=return("abc"', "              ^", "expected ')'"),
    ('a=return("abc', "         ^", "expected a second '\"' to close this one"),
    ('a=return("', "         ^", "expected a second '\"' to close this one"),
    ("a=return(1", "          ^", "expected ')'"),
    ("a=return(true", "             ^", "expected ')'"),
    ("a=return(msg", "            ^", "expected ')'"),
    ("a=return([1)", "           ^", "expected ']'"),
    ("a=return({[1}", "            ^", "expected ']'"),
    ('a=print(5" pipe)', "         ^", "expected a second '\"' to close this one"),
    ('{"point": "a" "hang": true}', "              ^", f"{JSON}Expecting ',' delimiter"),
    ('b=off; {"point"', "               ^", f"{JSON}Expecting ':' delimiter"),
    ('{"point": "a", "hang": true} b=off', "                             ^", "expected ';' or the"),
    ('[{"point": "a"]', "              ^", f"{JSON}Expecting ',' delimiter"),
    ('{"rules": []} b=off', "              ^", "expected the end of the plan"),
    ("a=print(\udc80)", "        ^", "expected text in UTF-8"),
    ("a=off [", "       ^", "expected a key or a label, such as every=3 or tenant=acme"),
    ("a=off []", "       ^", "expected a key or a label, such as every=3 or tenant=acme"),
    ("a=off [every=2,]", "               ^", "expected a key or a label"),
    ("a=off [every]", "            ^", "expected '=' after 'every'"),
    ("a=off [every=]", "             ^", f"{JSON}Expecting value"),
    ("a=off [every=0]", "             ^", "less than 1: 0; write a whole number from 1 to 2**62"),
    (
        "a=off [skip=x, every=2]",
        "            ^",
        "not a whole number: 'x'; write a whole number from",
    ),
    ('a=off [times="2"]', "             ^", "not a whole number: '2'; write a whole number from 1"),
    ("a=2*off [times=3]", "         ^", "'times' is in the text already; keep one of them"),
    ("a=off [every=2, every=3]", "                ^", "'every' is in the text already; keep"),
    ("a=off [to=db, to=x]", "              ^", "'to' is given twice; keep one of them"),
    ('a=off [to=db, where={"to": 1}]', "                    ^", "'to' is given twice"),
    ("a=off [where=db]", "             ^", "not an object of names: 'db'; write keys and labels"),
    ("a=off [when=later]", "            ^", "neither before nor after: 'later'; did you mean"),
    (
        "a=off [expires_after=0]",
        "                     ^",
        "the rule would expire at once: 0; write more than 0",
    ),
    (
        "a=off [expires_after=soon]",
        "                     ^",
        "not a duration: 'soon'; write a number",
    ),
    ("a=off [probability=30]", "                   ^", "not between 0 and 1: 30; write a number"),
    (
        "a=off [probability=130%]",
        "                   ^",
        "more than 100%: '130%'; write a percentage from 0% to 100%",
    ),
    ("a=off [failure_rate=30%]", "       ^", "'failure_rate': there is no raise(...) to apply it"),
    (
        "a=off [latency=1s]",
        "       ^",
        "'latency' does not belong in the brackets; write the faults before",
    ),
    (
        "a=off [point=b]",
        "       ^",
        "'point' does not belong in the brackets; write it before the '='",
    ),
    ("a=off [evry=2]", "       ^", "unknown key 'evry'; did you mean 'every'? for a label or"),
    ("a=off [where.=2]", "             ^", "expected a name after 'where.'"),
    ('a=off [""=2]', "       ^", "expected a name between the quotes"),
    ("a=off [to=db", "            ^", "expected ']'"),
    ("a=off [to=db; b=off", "                   ^", "expected ']'"),
    ("a=off [to=(db, x]", "                 ^", "expected ')'"),
    ("a=off [to=(db) x]", "               ^", "expected ',' or ']'"),
    ("a=off [to=(db,)]", "              ^", f"{JSON}Expecting value"),
    ('a=off [to="db]', "          ^", "expected a second '\"' to close this one"),
    ('a=off [to="db" x]', "               ^", f"{JSON}Expecting ',' or ']'"),
    ("a=off [to='db']", "          ^", f"{JSON}Expecting value"),
    ("a=off [to=None]", "          ^", f"{JSON}Expecting value"),
    (
        'a=off [to="<code only>"]',
        "          ^",
        "this text stands for a value that only code can give",
    ),
    (f"a=off [to={'[' * 51}{']' * 51}]", "          ^", "not plain data: ["),
    (
        "a=off [to=db]+raise",
        "             ^",
        "expected '->', ';' or the end; write all faults before",
    ),
    (
        "a=off [to=db] [every=2]",
        "              ^",
        "expected '->', ';' or the end; write all faults",
    ),
    ("a=\tof\n", "   ^", "'of': not a known action; did you mean 'off'?"),
    (";;", "  ^", "expected a rule such as payment.charge=latency(200ms)"),
]


@pytest.mark.parametrize(("text", "caret", "words"), BAD, ids=[text[:40] for text, _, _ in BAD])
def test_a_mistake_is_shown_with_its_column(text: str, caret: str, words: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        Plan.parse(text)
    message = str(caught.value)
    assert message.startswith(f"plan: column {len(caret)}: {words}")
    *_, shown, below = message.split("\n")
    assert f"    {text}".replace("\t", " ").replace("\udc80", " ").startswith(shown.rstrip())
    assert below == f"    {caret}"
    assert caught.value.cure
    assert message.endswith(f"; {caught.value.cure}\n{shown}\n{below}")


def test_of_a_long_text_only_the_part_about_the_mistake_is_shown() -> None:
    with pytest.raises(InvalidPlan) as caught:
        Plan.parse("a=off;" * 1000 + "a=of;" + "a=off;" * 1000)
    first, shown, below = str(caught.value).split("\n")
    assert first == "plan: column 6003: 'of': not a known action; did you mean 'off'?"
    assert len(shown) < 130
    assert shown[len(below) - 1 :].startswith("of;")


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_plan_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlan, match=r'empty; .* \{"rules": \[\]\} to arm nothing'):
        Plan.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A.b=off", "rule 1 ('A.b'): point='A.b': uppercase letters are not allowed; write 'a.b'"),
        ("pkg/x=off", "rule 1 ('pkg/x'): point='pkg/x': '/' is not allowed in a name; write"),
        ("a=off;b=off+hang", "rule 2 ('b'): faults='off + hang': a rule can have only one outcome"),
        ("a=99999999999999999999*off", "rule 1 ('a'): times=99999999999999999999: more than 2**62"),
        ('a=off;{"hang": true}', "rule 2: point: missing"),
        ('{"seed": 7}', "plan: rules: missing"),
        ("{}", "plan: rules: missing"),
        ('{"rules": [], "point": "a"}', "plan: point='a': unknown key"),
    ],
)
def test_what_is_written_well_but_means_nothing_names_its_rule(text: str, words: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        Plan.parse(text)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=off->off", "rule: 2 rules, expected one; give one rule, or use Plan.parse"),
        ("a=off;b=off", "rule: 2 rules, expected one"),
        ("", "rule: column 1: expected a rule such as"),
        ("a=5%", "rule: column 5: expected a fault"),
        ("[]", "rule: column 3: expected '=' after '[]'"),
        ('{"point": "a"}', "rule: faults=[]: a rule needs a fault"),
    ],
)
def test_a_rule_is_exactly_one(text: str, words: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        Rule.parse(text)
    assert str(caught.value).startswith(words)


SIZE = 2**16
LONG = [
    "a=off;" * (SIZE // 6),
    "a=" + "->".join(["off"] * (SIZE // 5)),
    "a=" + "+".join(["yield"] * (SIZE // 6)),
    "a=print(" + "x," * (SIZE // 2) + ")",
    "a=return(" + "[" * SIZE,
    "a=return(" + "[1," * (SIZE // 3) + ")",
    "a=return(" + '"' * SIZE + ")",
    'a=return("' + "\\" * SIZE,
    "a=return(0" + "0" * SIZE + "x)",
    "a=latency(1" + " " * SIZE + "x)",
    "a=latency(" + "1" * SIZE + "x)",
    "a=raise(" + "x." * (SIZE // 2) + "y)",
    "a=" + "1" * SIZE + "%off",
    "a=1" + " " * SIZE + "off",
    "a=" + "a-" * (SIZE // 2),
    "a=" + "1." * (SIZE // 2),
    "a" * SIZE,
    " " * SIZE + "x",
    '{"a":' * (SIZE // 5),
    "{" + ",".join(f'"{nth}":1' for nth in range(SIZE // 10)) + ',"z":1,"z":1}',
    '{"point":"a","hang":true};' * (SIZE // 26),
]


@pytest.mark.parametrize("text", LONG, ids=[text[:12] for text in LONG])
def test_a_long_text_takes_no_more_time_for_each_character(text: str) -> None:
    started = process_time()
    try:
        said = str(Plan.parse(text))
    except InvalidPlan as error:
        said = str(error)
    assert process_time() - started < 3.0
    assert "column" not in said or len(said) < 1000
