"""Plan files: three formats, one plan; every mistake with the file and, where known, the line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaospoint.errors import ChaosError, InvalidPlan
from chaospoint.faults import Return
from chaospoint.plan import Plan, Rule, load_plan
from chaospoint.plan.document import MAX_BYTES

PLAN = Plan(
    seed=7,
    rules=[
        Rule(
            point="payment.charge",
            latency={"seconds": 0.2, "jitter": "50ms"},
            exception="httpx.ConnectTimeout",
            failure_rate=0.3,
            expires_after="10m",
        ),
        Rule(point="inventory.*", returns=None, times=2),
    ],
)

YAML = """\
# a plan
seed: 7
rules:
  - point: payment.charge
    latency: {seconds: 0.2, jitter: 50ms}
    exception: httpx.ConnectTimeout
    failure_rate: 0.3
    expires_after: 10m

  - point: inventory.*
    returns: null
    times: 2
"""

JSON = """\
{
\t"seed": 7,
\t"rules": [
\t\t{"point": "payment.charge", "latency": {"seconds": 0.2, "jitter": "50ms"},
\t\t "exception": "httpx.ConnectTimeout", "failure_rate": 0.3, "expires_after": "10m"},
\t\t{"point": "inventory.*", "returns": null,
\t\t "times": 2}
\t]
}
"""

TOML = """\
seed = 7

[[rules]]
point = "payment.charge"
latency = {seconds = 0.2, jitter = "50ms"}
exception = "httpx.ConnectTimeout"
failure_rate = 0.3
expires_after = "10m"

[[rules]]
point = "inventory.*"
faults = [{kind = "return"}]
times = 2
"""


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.yaml", YAML), ("p.yml", YAML), ("p.YAML", YAML), ("p.json", JSON), ("p.toml", TOML)],
)
def test_three_formats_hold_the_same_plan(tmp_path: Path, name: str, text: str) -> None:
    assert load_plan(write(tmp_path, name, text)) == PLAN
    assert load_plan(str(write(tmp_path, name, b"\xef\xbb\xbf" + text.encode()))) == PLAN


def test_a_dump_is_a_file(tmp_path: Path) -> None:
    assert load_plan(write(tmp_path, "p.json", PLAN.model_dump_json())) == PLAN
    assert load_plan(write(tmp_path, "p.yaml", PLAN.model_dump_json())) == PLAN


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.yaml", "rules: []"), ("p.json", '{"rules": []}'), ("p.toml", "rules = []")],
)
def test_no_rules_are_said_with_an_empty_list(tmp_path: Path, name: str, text: str) -> None:
    assert load_plan(write(tmp_path, name, text)) == Plan(rules=[])


def test_a_rule_may_be_text_with_the_keys_that_it_does_not_set(tmp_path: Path) -> None:
    text = """\
- point: inventory.*
  rule: 5%raise(sqlite3.OperationalError,"database is locked") -> 2*off
  expires_after: 10m
  where: {tenant: [acme, b*]}
- a=latency(1s); b=print(m)
"""
    beside = {"expires_after": 600, "where": {"tenant": ["acme", "b*"]}}
    locked = {"type": "sqlite3.OperationalError", "args": ["database is locked"]}
    assert load_plan(write(tmp_path, "p.yaml", text)).rules == (
        Rule(point="inventory.*", exception=locked, probability=0.05, **beside),
        Rule(point="inventory.*", faults=[{"kind": "off"}], times=2, **beside),
        Rule(point="a", latency=1),
        Rule(point="b", faults=[{"kind": "print", "message": "m"}]),
    )


def test_values_are_those_of_json(tmp_path: Path) -> None:
    text = "- {point: a, returns: [2020-01-01, 12:30, yes, off, true, 0x10, 1.5, ~]}\n"
    (rule,) = load_plan(write(tmp_path, "p.yaml", text)).rules
    assert rule.faults == (
        Return(value=["2020-01-01", "12:30", "yes", "off", True, 16, 1.5, None]),
    )


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    text = """\
- &base {point: a, latency: 1s, times: 3}
- {<<: *base, point: b, times: 4}
- {<<: [*base], point: c}
"""
    one, two, three = load_plan(write(tmp_path, "p.yaml", text)).rules
    assert (one.times, two.times, three.times) == (3, 4, 3)
    assert two.faults == one.faults


BOMB = "\n".join(
    ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))]
)
CHAIN = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200))])
TOO_DEEP = "nested more than 64 deep; write it flatter"

BAD: list[tuple[str, str | bytes, int | None, str]] = [
    # name, content, line, words
    ("p.yaml", "", None, "empty; write a plan; `rules: []`"),
    ("p.yaml", "  \n\n", None, "empty"),
    ("p.yaml", "# only a remark\n", None, "contains no data"),
    ("p.yaml", "null", None, "contains no data"),
    ("p.json", "", None, "empty"),
    ("p.json", "null", None, "contains no data"),
    ("p.toml", "", None, "empty"),
    ("p.toml", "# only a remark\n", None, "rules: missing"),
    ("p.yaml", "seed: 3\n", None, "rules: missing"),
    ("p.yaml", "rules:\n", None, "rules=None: not a list"),
    ("p.yaml", "hello", None, "not a plan"),
    ("p.txt", "rules: []", None, "not a known kind of file: '.txt'; use .yaml, .toml or .json"),
    ("p", "rules: []", None, "not a known kind of file: ''"),
    ("p.yaml", YAML.replace("0.3", "30"), 4, "rule 1 ('payment.charge'): failure_rate=30"),
    ("p.yaml", YAML.replace("times: 2", "times: 0"), 10, "rule 2 ('inventory.*'): times=0"),
    ("p.json", JSON.replace('"times": 2', '"times": 0'), 6, "rule 2 ('inventory.*'): times=0"),
    ("p.toml", TOML.replace("times = 2", "times = 0"), 10, "rule 2 ('inventory.*'): times=0"),
    ("p.yaml", "- point: a\n  latency: 1s\n  latency: 2s\n", 3, "latency: the key is given twice"),
    ("p.json", '[{"point": "a",\n"hang": true,\n\t"hang": 1}]', 3, "hang: the key is given twice"),
    ("p.toml", "seed = 1\nseed = 2\n", 2, "not TOML"),
    ("p.yaml", "rules:\n  - point: [a\n", 3, "not YAML"),
    ("p.yaml", "rules: []\n\tseed: 1\n", 2, "not YAML"),
    ("p.yaml", "rules: []\n---\nrules: []\n", 2, "not YAML"),
    ("p.yaml", "- point: a\n  returns: !!python/object/apply:os.system [x]\n", 2, "not YAML"),
    ("p.yaml", "- point: a\n  returns: !!timestamp 2020-01-01\n", 2, "not YAML"),
    ("p.yaml", "- point: a\n  returns: !!binary aGk=\n", 2, "not YAML"),
    ("p.yaml", "- point: a\n  returns: *nowhere\n", 2, "not YAML"),
    ("p.yaml", "- point: a\n  ? [x]\n  : 1\n", 2, "not YAML"),
    ("p.yaml", "a: 1\nb: \x07\n", 2, "not YAML"),
    ("p.yaml", "- point: a\n  latency: 2020-01-01\n", 1, "latency='2020-01-01': not a duration"),
    ("p.yaml", "- point: true\n  hang: true\n", 1, "point=True: not the name of a point"),
    ("p.yaml", f"- point: a\n  seed: {'9' * 5000}\n", 2, "not YAML"),
    (
        "p.yaml",
        f"- {{point: a, faults: [{{kind: 0x{'f' * 5000}}}]}}\n",
        1,
        "kind=<int>: not a kind",
    ),
    ("p.yaml", f"- ? 0x{'f' * 5000}\n  : 1\n", 1, "<int>=1: unknown key"),
    (
        "p.yaml",
        "# text\n- point: a\n  rule: 5%raise(\n",
        2,
        "rule 1 ('a'): rule='5%raise(': column",
    ),
    (
        "p.yaml",
        "- a=off\n- b=of\n",
        2,
        "rule 2: rule='b=of': column 3: 'of': not a known action; did you",
    ),
    (
        "p.yaml",
        "- {point: a, rule: false}\n",
        1,
        "rule=False: not text; write text in quotes",
    ),
    (
        "p.toml",
        "[[rules]]\npoint='a'\nrule='2*off'\ntimes=3\n",
        1,
        "times=3: the text of the rule has",
    ),
    ("p.json", '[{"point": "a", "returns": "\\ud800"}]', None, "returns='\\ud800': not plain data"),
    ("p.yaml", "- &a [*a]\n", 1, TOO_DEEP),
    ("p.yaml", BOMB, None, "expand to more than a million"),
    ("p.yaml", CHAIN, None, TOO_DEEP),
    ("p.yaml", "[" * 200_000, 1, TOO_DEEP),
    ("p.yaml", "{a: " * 100_000, 1, TOO_DEEP),
    ("p.yaml", "- " * 50_000, 1, TOO_DEEP),
    ("p.yaml", "- point: a\n  returns: " + "[" * 5_000, 2, TOO_DEEP),
    ("p.json", "[" * 200_000, 1, TOO_DEEP),
    ("p.json", '\n{"a":' * 100_000, 66, TOO_DEEP),
    ("p.toml", "a = " + "[" * 100_000, None, TOO_DEEP),
    ("p.json", '{"rules": [],\n]', 2, "not JSON"),
    ("p.json", "rules: []", 1, "not JSON"),
    ("p.json", f'[{{"point": "a", "seed": {"9" * 5000}}}]', None, "not JSON"),
    ("p.json", '[{"point": "a", "latency": NaN}]', 1, "latency=nan: not a finite number"),
    ("p.json", '[{"point": "a", "latency": 1e999}]', 1, "latency=inf: not a finite number"),
    ("p.toml", "rules = [\n", None, "not TOML"),
    ("p.toml", "[[rules]]\npoint='a'\nreturns=2020-01-01\n", 1, "returns=datetime.date"),
    ("p.yaml", b"rules:\n\xff\xfe", 2, "not UTF-8 text; save it as UTF-8"),
    ("p.yaml", YAML.encode("utf-16"), 1, "not UTF-8 text"),
    ("p.yaml", b"rules: []\n\x00", 2, "zero byte"),
    ("p.json", b"\x7fELF\x00\x01", 1, "zero byte"),
    ("p.yaml", b"#" * (MAX_BYTES + 1), None, "larger than 1 MiB"),
]


@pytest.mark.parametrize(
    ("name", "content", "line", "words"), BAD, ids=[f"{n}-{w[:40]}" for n, _, _, w in BAD]
)
def test_a_bad_file_is_refused_with_its_name_and_the_line(
    tmp_path: Path, name: str, content: str | bytes, line: int | None, words: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(InvalidPlan) as caught:
        load_plan(path)
    message = str(caught.value)
    place = f"{path}, line {line}: " if line else f"{path}"
    assert message.startswith(place)
    assert words in message
    assert caught.value.cure
    assert message.partition("\n    ")[0].endswith(caught.value.cure)


UNQUOTED = [
    # what stands there, the line of the mistake, what is to be written in its place
    ("- point: a\n  rule: raise(OSError, slow: bank)\n", 2, "rule: 'raise(OSError, slow: bank)'"),
    ('- point: a\n  rule: return({"a": 1})\n', 2, "rule: 'return({\"a\": 1})'"),
    ("- a=print(note: x)\n", 1, "- 'a=print(note: x)'"),
    ('- b=off\n- a=raise(OSError, "a: b")\n', 2, "- 'a=raise(OSError, \"a: b\")'"),
    ("- point: a\n  rule: print(a #b)\n", 1, "rule: 'print(a #b)'"),
    ("- a=off [to=a #b]\n- b=off\n", 1, "- 'a=off [to=a #b]'"),
    ("- *.x=off\n", 1, "- '*.x=off'"),
    ("- point: *\n  rule: off\n", 1, "point: '*'"),
    ("- point: a\n  rule: 'print(it's)'\n", 2, "rule: 'print(it''s)'"),
    ('- "a=raise(OSError, "x")"\n', 1, "- 'a=raise(OSError, \"x\")'"),
]


@pytest.mark.parametrize(("text", "line", "written"), UNQUOTED)
def test_a_rule_that_yaml_takes_apart_is_shown_in_quotes(
    tmp_path: Path, text: str, line: int, written: str
) -> None:
    with pytest.raises(InvalidPlan) as caught:
        load_plan(write(tmp_path, "p.yaml", text))
    message = str(caught.value)
    assert f"p.yaml, line {line}: " in message
    assert re.search(rf"; put the (rule|name) in quotes: {re.escape(written)}$", message)
    head = written.partition("'")[0]
    (bad,) = (one for one in text.splitlines() if head in one and one.strip() not in ("- b=off",))
    cured = text.replace(bad.partition(head)[1] + bad.partition(head)[2], written)
    assert load_plan(write(tmp_path, "p.yaml", cured)).rules


@pytest.mark.parametrize(
    "text",
    [
        "- {point: a, rule: return(a: b)}\n",
        "- {point: a, rule: raise(OSError, bank)}\n",
        "- {point: a, rule: off [to=db]}\n",
        "rules: [a=off, b=raise(OSError, x)]\n",
        "rules: [a=off, b=off [to=db]]\n",
        "- point: a\n  rule: raise(OSError,\n    slow: bank)\n",
    ],
)
def test_a_rule_within_brackets_of_yaml_is_to_be_quoted(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidPlan, match=r"; put the rule in quotes, such as rule: '"):
        load_plan(write(tmp_path, "p.yaml", text))


@pytest.mark.parametrize(
    "text",
    [
        "- point: a\n  rule: latnecy(1s)  # slow\n",
        "- point: a\n  latency: 1s\n  tmies: 3  # rule: off\n",
        "- a=off\n- point: [b\n",
        "- point: a\n  where: {to: a: b}\n  hang: true\n",
    ],
)
def test_other_mistakes_keep_their_cure(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        load_plan(write(tmp_path, "p.yaml", text))
    assert "in quotes" not in str(caught.value)


def in_lists(depth: int) -> str:
    return "[" * depth + "]" * depth


DEEP = [
    ("p.yaml", lambda depth: in_lists(depth)),
    ("p.yaml", lambda depth: "- " * depth + "x"),
    ("p.yaml", lambda depth: "".join(f"{' ' * nth}a:\n" for nth in range(depth))),
    ("p.json", lambda depth: in_lists(depth)),
    ("p.json", lambda depth: f'["]", "\\"[[", {in_lists(depth - 1)}]'),
    ("p.json", lambda depth: '{"a":' * depth + "1" + "}" * depth),
    ("p.toml", lambda depth: f"a = {in_lists(depth - 1)}"),
    ("p.toml", lambda depth: ".".join(["a"] * depth) + " = 1"),
    ("p.toml", lambda depth: f"[{'.'.join(['a'] * (depth - 1))}]\na = 1"),
]


@pytest.mark.parametrize(("name", "write_deep"), DEEP)
def test_documents_of_every_format_are_nested_as_deep(
    tmp_path: Path, name: str, write_deep: Callable[[int], str]
) -> None:
    with pytest.raises(InvalidPlan) as fits:
        load_plan(write(tmp_path, name, write_deep(64)))
    assert TOO_DEEP not in str(fits.value)
    with pytest.raises(InvalidPlan, match=TOO_DEEP):
        load_plan(write(tmp_path, name, write_deep(65)))


def test_a_parser_with_a_lower_limit_of_its_own_is_put_in_our_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = yaml.parse

    def limited(text: str, **options: object) -> Iterator[yaml.Event]:
        # As libyaml's: its scanner gives up 70 deep, before the parser has told of one level.
        mark = yaml.Mark("", text.index("[" * 70) + 70, 1, 70, None, None)
        for event in parse(text, **options):
            if isinstance(event, yaml.SequenceStartEvent) and event.flow_style:
                raise yaml.scanner.ScannerError(problem="its limit", problem_mark=mark)
            yield event

    monkeypatch.setattr(yaml, "parse", limited)
    with pytest.raises(InvalidPlan, match=f"line 2: {TOO_DEEP}"):
        load_plan(write(tmp_path, "p.yaml", f"- point: a\n  returns: {in_lists(71)}\n"))


@pytest.mark.parametrize("suffix", ["yaml", "json", "toml"])
def test_a_value_that_may_stand_in_a_rule_fits_into_a_file(tmp_path: Path, suffix: str) -> None:
    text = {
        "yaml": f"rules:\n  - point: a\n    faults: [{{kind: return, value: {in_lists(50)}}}]",
        "json": f'{{"rules": [{{"point": "a", "returns": {in_lists(50)}}}]}}',
        "toml": f"[[rules]]\npoint = 'a'\nwhere.x = {in_lists(50)}\nhang = true",
    }[suffix]
    (rule,) = load_plan(write(tmp_path, f"p.{suffix}", text)).rules
    assert "<code only>" not in str(rule)
    with pytest.raises(InvalidPlan, match=r"not plain data.*nested 50 deep"):
        load_plan(write(tmp_path, f"p.{suffix}", text.replace(in_lists(50), in_lists(51))))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    with pytest.raises(InvalidPlan, match=r"missing.yaml: no such file; correct the path"):
        load_plan(missing)
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    with pytest.raises(InvalidPlan, match=r"folder.yaml: not a regular file"):
        load_plan(folder)
    with pytest.raises(InvalidPlan, match=r"not a regular file|no such file|cannot be read"):
        load_plan("nul\0.yaml")
    if hasattr(os, "mkfifo"):
        pipe = tmp_path / "pipe.yaml"
        os.mkfifo(pipe)
        with pytest.raises(InvalidPlan, match=r"pipe.yaml: not a regular file"):
            load_plan(pipe)


def test_a_file_that_cannot_be_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "p.yaml", YAML)

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InvalidPlan, match=r"p.yaml: cannot be read: Permission denied; correct"):
        load_plan(path)


texts = st.text(max_size=60) | st.lists(
    st.sampled_from(
        ["rules", ":", " ", "\n", "- ", "[", "]", "{", "}", '"', ",", "point", "a", "latency", "1s",
         "&x", "*x", "<<", "!!", "=", "'", "#", "|", ">", "---", "\t", "%", "?", "null", "1", "[["]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, st.sampled_from([".yaml", ".json", ".toml"]))
def test_no_text_gets_anything_but_a_plan_or_a_chaos_error(
    tmp_path: Path, text: str, suffix: str
) -> None:
    path = write(tmp_path, f"p{suffix}", text.encode("utf-8", "surrogatepass"))
    try:
        load_plan(path)
    except ChaosError:
        return


def test_a_plan_of_many_rules_takes_the_same_time_for_each(tmp_path: Path) -> None:
    text = "".join(f"- {{point: a.n{n}, latency: 1s}}\n" for n in range(10_000))
    assert len(load_plan(write(tmp_path, "p.yaml", text)).rules) == 10_000
