"""A context manager that records whether it was entered, so that a forgotten ``with`` is found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

__all__ = ["Block"]

_T = TypeVar("_T")


class Block(AbstractContextManager[_T]):
    """Enters a new context manager, made by ``make``, each time it is entered."""

    def __init__(self, name: str, make: Callable[[], AbstractContextManager[_T]]) -> None:
        self.name = name
        self.entered = False
        self._make = make
        self._inner: list[AbstractContextManager[_T]] = []

    def __enter__(self) -> _T:
        self.entered = True
        inner = self._make()
        value = inner.__enter__()
        self._inner.append(inner)
        return value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._inner.pop().__exit__(kind, error, trace)
