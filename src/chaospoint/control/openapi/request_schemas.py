"""The bodies of writes as JSON schema, made from the models that read them.

What the models take is allowed here, and what is not allowed here the models refuse. They refuse
more than a schema can express: two outcomes in one rule, an exception that was never imported, or
text with an error after its first word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pydantic.type_adapter  # noqa: F401 - or pydantic imports it at the first look
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from chaospoint.faults.exception_choice import CHOICE_SCHEMA
from chaospoint.faults.exception_schema import CAUSE_SCHEMA, EXCEPTION_SCHEMA, NAME_SCHEMA
from chaospoint.faults.kinds import kinds, verbs
from chaospoint.models.durations import Lifetime
from chaospoint.models.model import Model
from chaospoint.models.quantities import SHARE_SCHEMA
from chaospoint.plan.plan import Plan
from chaospoint.plan.rule import Rule

__all__ = ["ANYTHING", "PLAN", "RENEWAL", "RULE", "Renewal", "body_schemas", "ref", "schemas_of"]

Schema = dict[str, Any]

PLAN: Final = "Plan"
RULE: Final = "PointRule"
"""The names of the schemas of the two bodies."""

RENEWAL: Final = "Renewal"
"""The name of the body that moves deadlines; it may be left out."""

ANYTHING: Final = "Anything"
"""The name of the body that accepts anything."""

_FROM_CODE = ("call",)  # a kind that no data can say
_SPACE = r"[\s\x1c-\x1f\x85]*"
_PREFIX = rf"(([0-9]+(\.[0-9]*)?|\.[0-9]+){_SPACE}[%*]{_SPACE})*"


class Renewal(Model):
    """A new deadline, counted from now; by default the original lifetime of the rule."""

    expires_after: Lifetime = None

    @classmethod
    def _label(cls, keys: Mapping[str, object]) -> str:
        del keys
        return "the new deadline"


class _Plain(GenerateJsonSchema):
    """Leaves out titles that repeat a name, and defaults that only code can use."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def field_title_should_be_set(self, schema: object) -> bool:
        del schema
        return False


def ref(name: str) -> Schema:
    """Return the reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas_of(models: Iterable[type[BaseModel]], mode: JsonSchemaMode) -> dict[str, Schema]:
    """Return the schemas of models, and of the models in them, by name."""
    _, whole = models_json_schema(
        [(model, mode) for model in models],
        ref_template=ref("{model}")["$ref"],
        schema_generator=_Plain,
    )
    schemas: dict[str, Schema] = whole["$defs"]
    for schema in schemas.values():
        schema.pop("title", None)
        if "description" in schema:
            schema["description"] = schema["description"].partition("\n")[0]
    return schemas


def body_schemas() -> dict[str, Schema]:
    """Return the schemas of a plan, of the rules for one name, and of their parts."""
    known = {kind: model for kind, model in kinds().items() if kind not in _FROM_CODE}
    own = {kind: model for kind, model in known.items() if model is not None}
    models = schemas_of([*own.values(), Rule, Plan, Renewal], "validation")
    faults = {_name(kind): _fault(models[model.__name__]) for kind, model in own.items()}
    added = [
        {"type": "object", "properties": {"kind": {"const": kind}}, "required": ["kind"]}
        for kind in known
        if kind not in own
    ]
    rule, plan = models["Rule"], models["Plan"]
    keys = rule["properties"]
    keys["faults"] = {"type": "array", "items": ref("Fault")}
    # A client has no context here that a rule could belong to.
    keys["scope"] = {"const": "process", "default": "process"}
    plan["properties"]["rules"] = {"type": "array", "items": ref("PlanRule")}
    plan["properties"]["placements"] = {
        "type": "object",
        "maxProperties": 0,
        "description": "only the plan file may have placements",
    }
    line = {
        "description": "A rule as text, with the point.",
        "type": "string",
        "pattern": "[={]",
        "examples": ["payment.charge=30%latency(200ms)"],
    }
    schemas = {
        **faults,
        "Fault": {"oneOf": [*map(ref, faults), *added]},
        "FaultWithoutOutcome": {
            "description": "A fault beside which another decides how the call ends.",
            "oneOf": [*(ref(_name(k)) for k, model in own.items() if not model.outcome), *added],
        },
        "Rule": {**rule, "description": "A rule as it is kept; it can be put as it is."},
        RULE: {"anyOf": _rules(keys, _short_keys(models))},
        "PlanRule": {"anyOf": [*_rules(keys, _short_keys(models), "point"), line]},
        RENEWAL: models[RENEWAL],
        PLAN: {**plan, "description": "All rules that are to be in force."},
    }
    named = {
        "Duration": models["Latency"]["properties"]["seconds"],
        "Exception": CHOICE_SCHEMA,
        "ExceptionName": NAME_SCHEMA,
        "Cause": CAUSE_SCHEMA,
    }
    shared = {name: _shared(schema, named) for name, schema in schemas.items()}
    inner = {name: named[name] for name in ("ExceptionName", "Cause")}
    whole = {"Exception": CHOICE_SCHEMA, "Cause": EXCEPTION_SCHEMA}
    anything = {"description": "Whatever it is, the request is carried out."}
    again = {name: _shared(schema, inner) for name, schema in whole.items()}
    return {**named, **shared, ANYTHING: anything, **again}


def _name(kind: str) -> str:
    return f"{kind.capitalize()}Fault"


def _fault(model: Schema) -> Schema:
    """Return the schema of a kind of fault in ``faults``, where ``kind`` identifies it."""
    return {**model, "required": ["kind", *model.get("required", ())]}


def _short_keys(models: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the schemas of the short keys, which accept the fields of the faults and more."""
    seconds = models["Latency"]["properties"]["seconds"]
    return {
        "latency": {"anyOf": [seconds, models["Latency"]]},
        "exception": CHOICE_SCHEMA,
        "failure_rate": SHARE_SCHEMA,
        "returns": {},
        "hang": {"anyOf": [{"const": True}, seconds]},
    }


def _rules(keys: Schema, shorts: Schema, *required: str) -> list[Schema]:
    """Return the forms of a rule as an object, one for each outcome."""

    def form(
        description: str, outcome: Sequence[str], needed: Sequence[str], faults: Sequence[str]
    ) -> Schema:
        known = [ref("FaultWithoutOutcome"), *map(ref, faults)]
        there = {
            **keys,
            "faults": {"type": "array", "items": {"anyOf": known}},
            **{key: shorts[key] for key in ("latency", *outcome)},
        }
        return _object(description, there, [*needed, *required])

    text = {
        "type": "string",
        "pattern": rf"^{_SPACE}{_PREFIX}({'|'.join(map(re.escape, verbs()))}){_SPACE}($|[(+\[]|->)",
        "examples": ["30%latency(200ms) [tenant=acme]", "2*raise(TimeoutError)->off"],
    }
    beside = {key: schema for key, schema in keys.items() if key != "faults"}
    some = {**keys, "faults": {**keys["faults"], "minItems": 1}}
    rate, failure, back = "failure_rate", "exception", "returns"
    return [
        _object("A rule as text.", {"rule": text, **beside}, ["rule", *required]),
        _object("A rule as it is kept.", some, ["faults", *required]),
        form("A rule that delays.", (), ["latency"], ["Fault"]),
        form("A rule that raises.", [failure], [failure], []),
        form("A rule that raises sometimes.", [failure, rate], [rate], ["ReturnFault"]),
        form("A rule that returns.", [back], [back], ["ExceptionFault"]),
        form("A rule that raises or returns.", [failure, rate, back], [rate, back], []),
        form("A rule that hangs.", ["hang"], ["hang"], []),
    ]


def _object(description: str, properties: Schema, required: Sequence[str]) -> Schema:
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "required": sorted(required),
        "additionalProperties": False,
    }


def _shared(schema: Any, named: Mapping[str, Schema]) -> Any:
    """Return the schema with references to the named schemas."""
    if isinstance(schema, list):
        return [_shared(item, named) for item in schema]
    if not isinstance(schema, dict):
        return schema
    for name, part in named.items():
        if schema == part:
            return ref(name)
    return {key: _shared(value, named) for key, value in schema.items()}
