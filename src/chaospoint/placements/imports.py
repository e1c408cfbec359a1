"""Call a function right after the import of a module, whichever import hook loads the module.

wrapt's finder sees an import only if no other finder in front of it handles the import. pytest,
typeguard and others may put their finders in front at any time. So `sys.meta_path` is replaced by a
list whose iteration always begins with wrapt's finder. That finder asks the others in turn, so each
module is loaded as before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from wrapt import register_post_import_hook
from wrapt.importer import ImportHookFinder  # type: ignore[import-untyped]

__all__ = ["after_import"]


class _MetaPath(list[Any]):
    """`sys.meta_path`, whose iteration begins with one finder, wherever it is in the list."""

    def __init__(self, finders: list[Any], first: ImportHookFinder) -> None:
        super().__init__(finders)
        self._first = first

    def __iter__(self) -> Iterator[Any]:
        yield self._first
        for finder in super().__iter__():
            if finder is not self._first:
                yield finder


def after_import(name: str, call: Callable[[object], object]) -> None:
    """Call ``call`` with the module after its import, or now if it is already imported."""
    register_post_import_hook(call, name)
    if type(sys.meta_path) is not _MetaPath:  # the first call, or other code has replaced the list
        finders = [finder for finder in sys.meta_path if type(finder) is ImportHookFinder]
        first = finders[0] if finders else ImportHookFinder()
        sys.meta_path = _MetaPath(sys.meta_path, first)
