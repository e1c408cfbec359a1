"""How far the name of an exception is looked up, by where the rule came from."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chaospoint._kernel.chance import Draws
from chaospoint._kernel.compiled_rule import CompiledRule
from chaospoint._kernel.effects import Raise
from chaospoint.errors import InvalidPlan
from chaospoint.faults.lookup import Trust
from chaospoint.plan import Plan, Rule
from chaospoint.plan.compiling import compile_plan

TRUSTS: tuple[Trust, ...] = ("code", "deferred", "loaded")


class Outer:
    class Error(Exception):
        pass


class Chatty(Exception):
    def __init__(self, *, order: str) -> None:
        super().__init__(order)


class Quits(Exception):
    def __init__(self) -> None:
        raise SystemExit(3)


class Liar(Exception):
    def __new__(cls, *args: object) -> Any:
        return StopIteration()


class NoException(Exception):
    def __new__(cls, *args: object) -> Any:
        return 3


def compiled(exception: object, trust: Trust) -> CompiledRule:
    (terms,) = compile_plan(Plan(rules=[{"point": "a", "exception": exception}]), trust=trust)
    return terms


def raised(terms: CompiledRule) -> BaseException:
    faults = terms.resolve() if terms.resolve else terms.faults
    (effect,) = faults[0].effects(Draws(1, 1))
    assert isinstance(effect, Raise)
    return effect.build()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that nobody has imported yet."""
    package = tmp_path / "chaos_shop"
    package.mkdir()
    (package / "__init__.py").write_text("class ShopError(Exception): pass\n")
    (package / "bank.py").write_text("class BankError(Exception): pass\nnothing = None\n")
    (package / "broken.py").write_text("raise SystemExit('no')\n")
    (package / "needy.py").write_text("import chaos_shop_that_is_not_there\n")
    (package / "lazy.py").write_text("def __getattr__(name): raise RuntimeError(name)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.startswith("chaos_shop")]:
        del sys.modules[name]


@pytest.mark.parametrize("trust", TRUSTS)
@pytest.mark.parametrize(
    ("exception", "expected"),
    [
        ("TimeoutError", "TimeoutError()"),
        ("InjectedFault", "InjectedFault('injected by chaospoint')"),
        ({"args": ["boom"]}, "InjectedFault('boom')"),
        ({"type": "OSError", "args": [1, "x"]}, "PermissionError(1, 'x')"),
        ("json.decoder.JSONDecodeError", None),
        (f"{__name__}.Outer.Error", "Error()"),
        ({"type": f"{__name__}.Chatty", "kwargs": {"order": "r"}}, "Chatty('r')"),
    ],
)
def test_builtins_and_imported_classes_are_found_at_once(
    trust: Trust, exception: Any, expected: str | None
) -> None:
    if expected is None:
        with pytest.raises(InvalidPlan, match=r"cannot be built: TypeError.*\{type: \.\.\., args"):
            compiled(exception, trust)
        return
    terms = compiled(exception, trust)
    assert terms.resolve is None
    assert repr(raised(terms)) == expected
    assert raised(terms) is not raised(terms)


def test_code_imports_what_it_names(shop: Path) -> None:
    terms = compiled("chaos_shop.bank.BankError", "code")
    assert terms.resolve is None
    assert type(raised(terms)).__name__ == "BankError"


def test_env_and_file_import_nothing_before_the_first_reach(shop: Path) -> None:
    terms = compiled("chaos_shop.bank.BankError", "deferred")
    assert "chaos_shop" not in sys.modules
    assert terms.resolve is not None
    assert type(raised(terms)).__name__ == "BankError"
    assert "chaos_shop.bank" in sys.modules


def test_a_submodule_not_imported_yet_is_waited_for(shop: Path) -> None:
    __import__("chaos_shop")
    terms = compiled("chaos_shop.bank.BankError", "deferred")
    assert terms.resolve is not None
    assert "chaos_shop.bank" not in sys.modules


def test_a_module_that_is_still_importing_is_waited_for(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("chaos_shop_half")
    module.__spec__ = types.SimpleNamespace(_initializing=True)  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "chaos_shop_half", module)
    terms = compiled("chaos_shop_half.LaterError", "deferred")
    assert terms.resolve is not None
    module.LaterError = Outer.Error  # type: ignore[attr-defined]
    assert type(raised(terms)) is Outer.Error


def test_the_main_module_counts_as_found() -> None:
    terms = compiled("__main__.DefinedFurtherDown", "deferred")
    assert terms.resolve is not None


def test_what_is_imported_completely_is_checked_early(shop: Path) -> None:
    __import__("chaos_shop.bank")
    with pytest.raises(InvalidPlan, match=r"'chaos_shop.bank' has no 'BankEror'.*'BankError'"):
        compiled("chaos_shop.bank.BankEror", "deferred")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("chaos_shop.bank.BankEror", "has no 'BankEror'; did you mean 'BankError'?"),
        ("chaos_shop.bonk.BankError", "'chaos_shop' has no 'bonk'"),
        ("chaos_shop.bank", "not an exception class"),
        ("chaos_shop.bank.nothing", "not an exception class"),
        ("chaos_shop.broken.Error", "importing 'chaos_shop.broken' failed with SystemExit: no"),
        ("chaos_shop.needy.Error", "No module named 'chaos_shop_that_is_not_there'"),
        ("chaos_shop.lazy.Error", "reading 'Error' failed with RuntimeError"),
    ],
)
@pytest.mark.parametrize("trust", ["code", "deferred", "early"])
def test_a_look_up_that_fails_is_a_typed_error_with_the_cure(
    shop: Path, path: str, problem: str, trust: Trust
) -> None:
    look_up: Callable[[], object] | None = partial(compiled, path, trust)
    if trust != "code":
        look_up = compiled(path, trust).resolve
    assert look_up is not None
    with pytest.raises(InvalidPlan) as caught:
        look_up()
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"rule 'a': exception={path!r}: ")


@pytest.mark.parametrize("trust", ["code", "deferred"])
def test_a_package_that_is_not_there_is_refused(trust: Trust) -> None:
    with pytest.raises(InvalidPlan, match="no module is named 'chaos_nowhere'; correct the name"):
        compiled("chaos_nowhere.Error", trust)


def test_a_package_that_is_not_there_may_come_before_the_first_reach() -> None:
    look_up = compiled("chaos_nowhere.Error", "early").resolve
    assert look_up is not None
    with pytest.raises(InvalidPlan, match="no module is named 'chaos_nowhere'; correct the name"):
        look_up()


@pytest.mark.parametrize(
    "path", ["chaos_shop.ShopError", "chaos_nowhere.Error", "chaos_shop.lazy.Error"]
)
def test_http_and_stores_import_nothing_and_run_no_code(shop: Path, path: str) -> None:
    if "lazy" in path:
        __import__("chaos_shop.lazy")
    loaded = set(sys.modules)
    with pytest.raises(InvalidPlan, match="not found in the modules that this process"):
        compiled(path, "loaded")
    assert set(sys.modules) == loaded


@pytest.mark.parametrize(
    "path", ["os.path.join", "sys.modules", "builtins.dict", "sys.modules.os", "os.sys.exit"]
)
def test_http_finds_no_other_kind_of_thing(path: str) -> None:
    with pytest.raises(InvalidPlan, match=r"not an exception class|has no|not found"):
        compiled(path, "loaded")


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "SystemExit", "asyncio.CancelledError"])
def test_what_is_no_exception_subclass_comes_from_code_only(name: str) -> None:
    __import__("asyncio")
    assert not isinstance(raised(compiled(name, "code")), Exception)
    for trust in TRUSTS[1:]:
        with pytest.raises(
            InvalidPlan, match=f"exception='{name}'.*only by rules that code arms.*Exception"
        ):
            compiled(name, trust)


@pytest.mark.parametrize(
    ("exception", "problem"),
    [
        ("UnicodeDecodeError", "cannot be built: TypeError"),
        ({"type": "TimeoutError", "kwargs": {"x": 1}}, "cannot be built: TypeError"),
        (Chatty, "cannot be built: TypeError.*with the arguments of its constructor: order"),
        (Quits, "cannot be built: SystemExit"),
        (Liar, "StopIteration controls generators and iteration"),
        (NoException, "builds something that is not an exception: 3; return a new exception"),
    ],
)
def test_wrong_arguments_fail_when_compiling(exception: Any, problem: str) -> None:
    with pytest.raises(InvalidPlan, match=problem) as caught:
        compiled(exception, "code")
    assert caught.value.field == "exception"
    assert caught.value.cure


def test_a_subclass_of_stop_iteration_is_refused_when_it_is_found(shop: Path) -> None:
    (shop / "sly.py").write_text("class Sly(StopIteration): pass\n")
    with pytest.raises(InvalidPlan, match="Sly controls generators and iteration"):
        compiled("chaos_shop.sly.Sly", "code")


def test_a_class_from_code_is_never_looked_up() -> None:
    class Inner(Exception):
        pass

    assert type(raised(compiled(Inner, "code"))) is Inner


class NeedsMessage(Exception):
    """As those of httpx: they cannot be built without a message."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


def test_an_exception_that_needs_a_message_gets_one() -> None:
    (terms,) = compile_plan(Plan(rules=[Rule(point="a", exception=NeedsMessage)]), trust="code")
    (raised,) = terms.faults[0].effects(Draws(1, 1))
    assert isinstance(raised, Raise)
    assert str(raised.build()) == "injected by chaospoint"
