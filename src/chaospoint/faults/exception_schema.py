"""The JSON schema of one exception in the key ``exception``."""

from __future__ import annotations

from typing import Any, Final

from chaospoint.faults.exception_class import BUILTINS

__all__ = ["CAUSE_SCHEMA", "EXCEPTION_SCHEMA", "NAME_SCHEMA"]

_WORD = r"[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*"  # any character that is not ASCII
NAME_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "description": "a builtin, or the dotted path of a class in a module that is imported",
    "pattern": rf"^({'|'.join(BUILTINS)}|{_WORD}(\.{_WORD})+)$",
    "examples": ["TimeoutError"],
}
"""The JSON schema of the name of an exception."""

CAUSE_SCHEMA: Final[dict[str, Any]] = {"description": "what `__cause__` is to be"}
"""Stands for a nested exception: `EXCEPTION_SCHEMA`, in documents whose schemas have names."""

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
"""The JSON schema of one exception."""
