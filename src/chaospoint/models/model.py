"""The base of all models: frozen, with errors that name the rule, and dumps without unset keys."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from chaospoint._kernel.context import transparently
from chaospoint.models.refusal import Refusal, check_keys, first_refusal

__all__ = ["Model", "fields_of"]


@cache
def fields_of(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the names of the fields, cached: pydantic takes most of a microsecond to find them."""
    return tuple(model.model_fields)


class Model(BaseModel):
    """A frozen value read from keys.

    ``Model(**keys)`` raises `InvalidPlan` only. ``Model.checked``, for use within the package,
    raises `Refusal` only; the caller adds the rule or field to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, /, **keys: Any) -> None:
        try:
            transparently(self._fill, keys)  # reading values may call foreign code
        except Refusal as refusal:
            if refusal.rule is None:
                refusal.of_rule(self._label(keys))
            raise refusal.invalid_plan() from None

    @classmethod
    def checked(cls, keys: Mapping[str, object]) -> Self:
        """Return the model that the keys describe; raises `Refusal` only."""
        model = cls.__new__(cls)
        model._fill(keys)
        return model

    def _fill(self, keys: Mapping[str, object]) -> None:
        try:
            BaseModel.__init__(self, **self._canonical(keys))
        except ValidationError as error:
            raise first_refusal(error) from None

    @classmethod
    def _canonical(cls, keys: Mapping[str, object]) -> dict[str, object]:
        """Return the values of the fields that the keys describe."""
        check_keys(keys, fields_of(cls))
        return dict(keys)

    @classmethod
    def _label(cls, keys: Mapping[str, object]) -> str:
        """Return the name that messages use for the object that these keys describe."""
        del keys
        return cls.__name__

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return the fields that are set; options as in pydantic."""
        return transparently(partial(super().model_dump, **options))

    def model_dump_json(self, **options: Any) -> str:
        """Return the fields that are set, as JSON; options as in pydantic."""
        return transparently(partial(super().model_dump_json, **options))

    @model_serializer(mode="wrap")
    def _leave_out_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return {name: value for name, value in dumped.items() if self._is_set(name)}

    def _is_set(self, name: str) -> bool:
        field, value = type(self).model_fields.get(name), getattr(self, name, None)
        # Types first: == of a foreign value may return an object that has no truth value.
        return field is None or type(value) is not type(field.default) or value != field.default
