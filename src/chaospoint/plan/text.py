"""The text form of rules, a superset of the forms of fail-rs and gofail.

::

    text    line (';' line)*
    line    name '=' chain  |  a rule in JSON, in which "rule" may be a chain
    chain   rule ('->' rule)*
    rule    (percent '%' | count '*')* fault ('+' fault)* ['[' entry (',' entry)* ']']
    fault   verb ['(' argument (',' argument)* ')']
    entry   key '=' value  |  name '=' value

White space is allowed between any two of these, and quoted text may contain any of them. Reading
returns the keys of rules, which the models check; errors state the column.
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
    """Return the data of a plan from JSON or from rules in text; raises `Refusal` only."""
    cursor = Cursor(text)
    if cursor.at_end():
        raise Refusal("empty", 'write point=fault, or {"rules": []} to arm nothing')
    if _TAIL_FIRST.match(text, cursor.skip_space()):
        cure = "write the brackets after the faults, as in payment.charge=off [to=db]"
        cursor.refuse("expected the name of a point or a glob before the '['", cure=cure)
    if cursor.comes_next("[") or cursor.comes_next("{"):
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
        if cursor.accept(";"):
            continue
        if cursor.comes_next("{"):
            rules += read_keys(cursor.json())
            expected = "';' or the end"
        else:
            name = cursor.expect_match(_NAME, "the name of a point or a glob")
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
    """Return the keys with ``rule`` replaced by the keys of the rules in its text, one item a rule.

    Each of these rules also gets the other keys. Raises `Refusal` only.
    """
    if "rule" not in keys:
        return [dict(keys)]
    others = dict(keys)
    text = others.pop("rule")
    if not isinstance(text, str):
        cure = 'write text in quotes, such as "off" or "5%raise(TimeoutError)"'
        raise Refusal("not text", cure, field="rule", value=text)
    try:
        rules = read_chain(text)
    except Refusal as refusal:
        if (name := _NAMED.match(text)) is not None:
            problem, cure = (
                "the text names a point",
                "leave the name out, because it is given already",
            )
            if name[1] in KEYS:
                problem = f"{name[1]!r} is a key, not part of the text"
                cure = _KEY_CURES.get(name[1], "write keys in brackets after the faults")
            raise Refusal(problem, cure, field="rule", value=text) from None
        raise refusal.within("rule", text) from None
    for key, value in others.items():
        if key in SHORT_KEYS:
            cure = "write it in the text, after a '+', or leave the text out"
            if key == "failure_rate" and any(map(_raises, rules)):
                cure = "write it in the text: raise(...) [failure_rate=30%]"
            raise Refusal(
                "the text of the rule already has the faults", cure, field=key, value=value
            )
        if any(key in rule for rule in rules):
            cure = "keep it in the text only, or leave the text out"
            raise Refusal("the text of the rule has this key already", cure, field=key, value=value)
    return [{**rule, **others} for rule in rules]


def read_chain(text: str) -> list[Keys]:
    """Return the keys of the rules in ``rule->rule``, without a point; raises `Refusal` only."""
    cursor = Cursor(text)
    rules = _chain(cursor)
    if not cursor.at_end():
        cursor.refuse(f"expected {_NEXT} or the end")
    return rules


def _chain(cursor: Cursor) -> list[Keys]:
    rules = [_rule(cursor)]
    while cursor.accept("->"):
        rules.append(_rule(cursor))
        if len(rules) > MAX_RULES:
            cursor.refuse(f"found more than {MAX_RULES} rules in one text", cure=FEWER_RULES)
    return rules


def _rule(cursor: Cursor) -> Keys:
    keys: Keys = {}
    while (match := cursor.accept_match(_PREFIX)) is not None:
        number, sign = match.groups()
        if len(number) > _DIGITS:
            cursor.refuse("expected a shorter number", match.start())
        key = "probability" if sign == "%" else "times"
        if key in keys:
            cursor.refuse(f"expected a fault, because there is a '{sign}' already", match.start())
        if sign == "%":
            # Decimal, so that 30% is exactly 0.3 and a written share reads back equal.
            share = Decimal(number) / 100
            if share > 1:
                cursor.refuse("expected a percentage from 0 to 100", match.start())
            keys[key] = float(share)
        elif number.isdigit() and int(number) > 0:
            keys[key] = int(number)
        else:
            cursor.refuse("expected a whole number from 1 before '*'", match.start())
    if (match := cursor.accept_match(_BARE_NUMBER)) is not None:
        cure = f"write {match[0]}% for a share of the calls, or {match[0]}* for a count of them"
        cursor.refuse(f"expected '%' or '*' after {show(match[0])}", match.end(), cure)
    faults = [_fault(cursor)]
    while cursor.accept("+"):
        faults.append(_fault(cursor))
        if len(faults) > MAX_RULES:
            cursor.refuse(f"found more than {MAX_RULES} faults", cure="leave out those that repeat")
    if cursor.accept("["):
        keys |= read_tail(cursor, keys, raises=_raises({"faults": faults}))
        if cursor.comes_next("+") or cursor.comes_next("["):
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
    at = cursor.skip_space()
    word = cursor.expect_match(VERB, "a fault such as latency(200ms) or raise(TimeoutError)")
    try:
        read = verb_named(word)
        return read(cursor.arguments() if cursor.accept("(") else Arguments("", ()))
    except Located:
        raise
    except Refusal as refusal:
        place = refusal.at if isinstance(refusal, Misplaced) else at
        cursor.refuse(f"{show(word)}: {refusal.statement}", place, refusal.cure)
    except InvalidPlan as error:  # a kind from another package may not use `checked`
        cursor.refuse(f"{show(word)}: {error}", at, error.cure or "")
