"""Turn the arguments of `arm` into the keys of a rule, and check them without a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from chaospoint.models import strict_json
from chaospoint.models.point_pattern import point_pattern
from chaospoint.models.quantities import share
from chaospoint.models.refusal import Refusal
from chaospoint.plan.plan import parse_rules

__all__ = ["read_pattern", "read_rule"]


def read_pattern(text: str) -> str:
    """Return the name or glob; raises `InvalidPlan`."""
    try:
        return point_pattern(text)
    except Refusal as refusal:
        raise refusal.within("PATTERN", text).invalid_plan() from None


def read_rule(
    target: str, text: str | None, options: Mapping[str, str | int | list[str] | None]
) -> tuple[str, dict[str, object]]:
    """Return the point name and the keys of the rule.

    ``target`` is a name, or a complete rule as text; ``text`` is the rule without its name.
    Raises `InvalidPlan`, and `typer.BadParameter` for a value that is not in the form of its key.
    """
    name, keys = _name_and_keys(target, text)
    for key, value in options.items():
        if value is None or value == []:
            continue
        if key in keys:
            raise typer.BadParameter(f"{key} is given twice: in the rule and as an option")
        read = _READERS.get(key)
        keys[key] = value if read is None else read("--" + key.replace("_", "-"), value)
    parse_rules(keys, point=name)
    return name, keys


def _name_and_keys(target: str, text: str | None) -> tuple[str, dict[str, object]]:
    keys: dict[str, object]
    if target.lstrip().startswith("{"):
        keys = _object("POINT", target)
        name = keys.pop("point", None)
        if not isinstance(name, str):
            raise typer.BadParameter("the rule has no key 'point': add it", param_hint="POINT")
    else:
        name, equals, chain = target.partition("=")
        name, keys = name.strip(), {}
        if equals:
            keys["rule"] = chain
    if text is None:
        return name, keys
    if keys:
        raise typer.BadParameter(
            "the rule is given twice: write it after the name, or in one text with the name",
            param_hint="KEYS",
        )
    return name, _object("KEYS", text) if text.lstrip().startswith("{") else {"rule": text}


def _object(parameter: str, text: str) -> dict[str, object]:
    value = _json(parameter, text)
    if not isinstance(value, dict):
        raise typer.BadParameter("not a JSON object", param_hint=parameter)
    return value


def _json(key: str, text: object) -> object:
    try:
        return strict_json.loads(str(text))
    except ValueError as error:
        cure = """write null, 3 or '"text"'; the shell needs the outer quotes"""
        raise typer.BadParameter(f"{text!r} is not JSON: {error}; {cure}", param_hint=key) from None


def _json_or_text(key: str, text: object) -> object:
    return _json(key, text) if str(text).lstrip().startswith(("{", "[")) else text


def _share(key: str, text: object) -> object:
    """Read ``0.3`` or ``30%``; the rule checks the range."""
    try:
        return share(text) if str(text).strip().endswith("%") else float(str(text))
    except Refusal:
        return text
    except ValueError:
        problem = f"{text!r} is not a share: write 0.3 or 30%"
        raise typer.BadParameter(problem, param_hint=key) from None


def _hang(key: str, text: object) -> object:
    del key
    return True if text == "true" else text


def _where(key: str, pairs: object) -> object:
    """Read pairs such as ``tenant=acme``; a value is JSON if it parses, and text otherwise.

    A name that is given twice matches either value.  A number also matches its text, because
    frameworks take path parameters as text.
    """
    values: dict[str, list[object]] = {}
    for pair in pairs if isinstance(pairs, list) else []:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r}: write name=value", param_hint=key)
        try:
            value = strict_json.loads(text)
        except ValueError:
            value = text
        number = isinstance(value, int | float) and not isinstance(value, bool)
        values.setdefault(name, []).extend([value, text] if number else [value])
    return {name: some[0] if len(some) == 1 else some for name, some in values.items()}


_READERS: Mapping[str, Callable[[str, object], object]] = {
    "latency": _json_or_text,
    "exception": _json_or_text,
    "failure_rate": _share,
    "probability": _share,
    "returns": _json,
    "hang": _hang,
    "where": _where,
}
