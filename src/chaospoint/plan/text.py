"""The text form of rules, a superset of what fail-rs and gofail read.

::

    text    line (';' line)*
    line    name '=' chain  |  a rule in JSON, in which "rule" may be a chain
    chain   rule ('->' rule)*
    rule    (percent '%' | count '*')* fault ('+' fault)* ['[' entry (',' entry)* ']']
    fault   verb ['(' argument (',' argument)* ')']
    entry   key '=' value  |  name '=' value

White space may stand between any two of these, and quoted text may hold any of them. Reading gives
the keys of rules; the models judge what they mean, and every mistake gets its column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from chaospoint.errors import InvalidPlan
from chaospoint.faults.failure import Failure
from chaospoint.faults.kinds import VERB, verb_named
from chaospoint.models.cursor import Arguments, Cursor, Located, Misplaced
from chaospoint.models.nesting import FEWER_RULES, MAX_RULES
from chaospoint.models.refusal import Refusal, show
from chaospoint.plan.shorthand import SHORT_KEYS
from chaospoint.plan.tail import KEYS, read_tail

if TYPE_CHECKING:
    from chaospoint.faults.base import FaultModel

__all__ = ["read_entries", "read_keys", "read_plan"]


Keys = dict[str, Any]

_NAME = re.compile(r"[^\s=;]+")
_NAMED = re.compile(r"\s*([\w.*-]+)\s*=")
_PREFIX = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([%*])")
_BARE_NUMBER = re.compile(r"[0-9]{1,20}(?=\s*[A-Za-z])")
_TAIL_FIRST = re.compile(r"\[\s*[\w.-]+\s*=")
_NEEDS_FAULT = "write a name and a fault, such as payment.charge=latency(200ms)"
_KEY_CURES = {
    "latency": "write latency(200ms), or --latency 200ms",
    "exception": "write raise(TimeoutError), or --exception TimeoutError",
    "returns": "write return(null), or --returns null",
    "hang": "write hang(30s), or --hang 30s",
}
_NEXT = "'+', '[', '->'"
_DIGITS = 400


def read_plan(text: str) -> object:
    """Return the data of a plan: JSON of the whole, or the keys of its rules; `Refusal` only."""
    cursor = Cursor(text)
    if cursor.at_end():
        raise Refusal("empty", 'write point=fault, or {"rules": []} to arm nothing')
    if _TAIL_FIRST.match(text, cursor.here()):
        cure = "write the brackets after the faults, as in payment.charge=off [to=db]"
        cursor.refuse("expected the name of a point or a glob before the '['", cure=cure)
    if cursor.sees("[") or cursor.sees("{"):
        value = cursor.json()
        if isinstance(value, list) or "rules" in value or not value.keys() - {"seed", "placements"}:
            if not cursor.at_end():
                cursor.refuse("expected the end of the plan")
            return value
    return read_entries(text)


def read_entries(text: str) -> list[Keys]:
    """Return the keys of the rules in ``name=chain; name=chain``; raises `Refusal` only."""
    cursor = Cursor(text)
    rules: list[Keys] = []
    while not cursor.at_end():
        if cursor.takes(";"):
            continue
        if cursor.sees("{"):
            rules += read_keys(cursor.json())
            expected = "';' or the end"
        else:
            name = cursor.match(_NAME, "the name of a point or a glob")
            cursor.expect("=", f"'=' after {show(name)}", _NEEDS_FAULT)
            rules += [{"point": name, **keys} for keys in _chain(cursor)]
            expected = f"{_NEXT}, ';' or the end"
        if len(rules) > MAX_RULES:
            cursor.refuse(f"found more than {MAX_RULES} rules in one text", cure=FEWER_RULES)
        if not cursor.at_end():
            cursor.expect(";", expected)
    if not rules:
        cursor.refuse("expected a rule such as payment.charge=latency(200ms)")
    return rules


def read_keys(keys: Mapping[str, Any]) -> list[Keys]:
    """Return the keys with those of the text in ``rule``, if it is there, in its place: each rule
    of it gets the others too; raises `Refusal` only."""
    if "rule" not in keys:
        return [dict(keys)]
    beside = dict(keys)
    text = beside.pop("rule")
    if not isinstance(text, str):
        cure = 'write it as text in quotes, such as "off" or "5%raise(TimeoutError)"'
        raise Refusal("not text", cure, field="rule", value=text)
    try:
        rules = read_chain(text)
    except Refusal as refusal:
        if (named := _NAMED.match(text)) is not None:
            problem, cure = "names a point", "leave the name out: it is already given"
            if named[1] in KEYS:
                problem = f"{named[1]!r} is a key, not part of the text"
                cure = _KEY_CURES.get(named[1], "write keys in brackets after the faults")
            raise Refusal(problem, cure, field="rule", value=text) from None
        raise refusal.within("rule", text) from None
    for key, value in beside.items():
        if key in SHORT_KEYS:
            cure = "write it into the text, joined with '+', or leave the text out"
            if key == "failure_rate" and any(map(_raises, rules)):
                cure = "write it into the text: raise(...) [failure_rate=30%]"
            raise Refusal("the text of the rule holds all the faults", cure, field=key, value=value)
        if any(key in rule for rule in rules):
            cure = "say it in the text alone, or leave the text out"
            raise Refusal("the text of the rule says it already", cure, field=key, value=value)
    return [{**rule, **beside} for rule in rules]


def read_chain(text: str) -> list[Keys]:
    """Return the keys of the rules in ``rule->rule``, without a point; raises `Refusal` only."""
    cursor = Cursor(text)
    rules = _chain(cursor)
    if not cursor.at_end():
        cursor.refuse(f"expected {_NEXT} or the end")
    return rules


def _chain(cursor: Cursor) -> list[Keys]:
    rules = [_rule(cursor)]
    while cursor.takes("->"):
        rules.append(_rule(cursor))
        if len(rules) > MAX_RULES:
            cursor.refuse(f"found more than {MAX_RULES} rules in one text", cure=FEWER_RULES)
    return rules


def _rule(cursor: Cursor) -> Keys:
    keys: Keys = {}
    while (found := cursor.finds(_PREFIX)) is not None:
        number, sign = found.groups()
        if len(number) > _DIGITS:
            cursor.refuse("expected a shorter number", found.start())
        key = "probability" if sign == "%" else "times"
        if key in keys:
            cursor.refuse(f"expected a fault, for there is a '{sign}' already", found.start())
        if sign == "%":
            # Decimal, so that 30% is 0.3 and what is written reads back equal.
            share = Decimal(number) / 100
            if share > 1:
                cursor.refuse("expected a percentage from 0 to 100", found.start())
            keys[key] = float(share)
        elif number.isdigit() and int(number) > 0:
            keys[key] = int(number)
        else:
            cursor.refuse("expected a whole number from 1 before '*'", found.start())
    if (found := cursor.finds(_BARE_NUMBER)) is not None:
        cure = f"write {found[0]}% for a share of the calls, or {found[0]}* for a count of them"
        cursor.refuse(f"expected '%' or '*' after {show(found[0])}", found.end(), cure)
    faults = [_fault(cursor)]
    while cursor.takes("+"):
        faults.append(_fault(cursor))
        if len(faults) > MAX_RULES:
            cursor.refuse(f"found more than {MAX_RULES} faults", cure="leave out those that repeat")
    if cursor.takes("["):
        keys |= read_tail(cursor, keys, raises=_raises({"faults": faults}))
        if cursor.sees("+") or cursor.sees("["):
            cure = "write all faults before the '[', and all keys in one pair of brackets"
            cursor.refuse("expected '->', ';' or the end", cure=cure)
        if "failure_rate" in keys:
            rate = keys.pop("failure_rate")
            faults = [_at_rate(fault, rate) for fault in faults]
    return {**keys, "faults": faults}


def _raises(rule: Keys) -> bool:
    return any(isinstance(fault, Failure) for fault in rule["faults"])


def _at_rate(fault: FaultModel, rate: float) -> FaultModel:
    if not isinstance(fault, Failure):
        return fault
    return fault.model_copy(update={"rate": None if rate == 1.0 else rate})


def _fault(cursor: Cursor) -> FaultModel:
    at = cursor.here()
    word = cursor.match(VERB, "a fault such as latency(200ms) or raise(TimeoutError)")
    try:
        read = verb_named(word)
        return read(cursor.arguments() if cursor.takes("(") else Arguments("", ()))
    except Located:
        raise
    except Refusal as refusal:
        place = refusal.at if isinstance(refusal, Misplaced) else at
        cursor.refuse(f"{show(word)}: {refusal.statement}", place, refusal.cure)
    except InvalidPlan as error:  # from a kind that was built without `checked`
        cursor.refuse(f"{show(word)}: {error}", at, error.cure or "")
