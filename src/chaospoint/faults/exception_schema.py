"""What data may write in the key ``exception``, as JSON schema."""

from __future__ import annotations

from typing import Any, Final

from chaospoint.faults.exception_class import BUILTINS

__all__ = ["CAUSE_SCHEMA", "EXCEPTION_SCHEMA", "NAME_SCHEMA"]

_WORD = r"[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*"  # of what is not ASCII, anything
NAME_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "description": "a builtin, or the dotted path of a class in a module that is imported",
    "pattern": rf"^({'|'.join(BUILTINS)}|{_WORD}(\.{_WORD})+)$",
    "examples": ["TimeoutError"],
}
"""How data names an exception, as JSON schema."""

CAUSE_SCHEMA: Final[dict[str, Any]] = {"description": "what `__cause__` is to be"}
"""Stands for an exception within another: `EXCEPTION_SCHEMA`, where schemas can have names."""

EXCEPTION_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        NAME_SCHEMA,
        {
            "type": "object",
            "properties": {
                "type": NAME_SCHEMA,
                "args": {"type": "array"},
                "kwargs": {"type": "object"},
                "cause": CAUSE_SCHEMA,
            },
            "additionalProperties": False,
        },
    ]
}
"""What data may say of one exception, as JSON schema."""
