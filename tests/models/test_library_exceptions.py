"""The exceptions of libraries: each is armed so that a program can show it, or refused with what
it needs."""

from __future__ import annotations

import importlib
import pickle
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from chaospoint._kernel.chance import Draws
from chaospoint._kernel.effects import Raise
from chaospoint._kernel.injection import Injection, injection_of, mark
from chaospoint.errors import InvalidPlan
from chaospoint.plan import Plan, Rule
from chaospoint.plan.compiling import compile_plan

MODULES = [
    "aiohttp",
    "amqp.exceptions",
    "asyncio",
    "asyncpg.exceptions",
    "billiard.exceptions",
    "botocore.exceptions",
    "builtins",
    "celery.exceptions",
    "click",
    "concurrent.futures",
    "django.core.exceptions",
    "django.db",
    "django.http",
    "elasticsearch",
    "fastapi",
    "fastapi.exceptions",
    "grpc",
    "grpc.aio",
    "http.client",
    "httpx",
    "json",
    "kafka.errors",
    "kombu.exceptions",
    "multiprocessing",
    "psycopg",
    "psycopg.errors",
    "psycopg2.errors",
    "pydantic",
    "pymongo.errors",
    "redis.exceptions",
    "requests.exceptions",
    "smtplib",
    "socket",
    "sqlalchemy.exc",
    "sqlite3",
    "ssl",
    "starlette.exceptions",
    "struct",
    "subprocess",
    "tenacity",
    "urllib.error",
    "urllib3.exceptions",
    "zlib",
]
TEXT = "injected by chaospoint"


def classes(module: str) -> Iterator[tuple[str, type[BaseException]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip(module, exc_type=ImportError)
        names = dir(found)
        for name in names:
            try:
                one = getattr(found, name)
            except Exception:
                continue  # what is loaded late may not be there
            if issubclass(type(one), type) and issubclass(one, BaseException):
                yield name, one


def raised(exception: Any) -> BaseException:
    (terms,) = compile_plan(Plan(rules=[Rule(point="a", exception=exception)]), trust="code")
    (effect,) = terms.faults[0].effects(Draws(1, 1))
    assert isinstance(effect, Raise)
    return effect.build()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("module", MODULES)
def test_what_is_armed_can_be_shown_and_what_is_not_says_why(module: str) -> None:
    said = {}
    for name, kind in classes(module):
        try:
            error = raised(kind)
        except InvalidPlan as refused:
            said[name] = str(refused)
            continue
        said[name] = "armed"
        mark(error, Injection("p", "exception", "p=raise", 1, "code", None, name), "a note")
        assert str(error) is not None
        assert kind.__name__ in repr(error) or repr(error)
        assert "a note" in "".join(traceback.format_exception(error))
        placed = [name for name, value in vars(error).items() if value == TEXT]
        assert not {"status_code", "code", "status", "url", "host", "pool"} & set(placed), name
    assert said
    answers = ("armed", "cannot be built", "but not shown", "cannot be injected")
    assert not {name for name in said if not any(part in said[name] for part in answers)}


@pytest.mark.parametrize(
    ("path", "needs"),
    [
        ("fastapi.HTTPException", "status_code"),
        ("starlette.exceptions.WebSocketException", "code"),
        ("grpc.aio.AioRpcError", "code"),
        ("sqlalchemy.exc.OperationalError", "statement, params, orig"),
        ("botocore.exceptions.ClientError", "error_response, operation_name"),
        ("urllib3.exceptions.MaxRetryError", "pool, url"),
        ("urllib3.exceptions.LocationParseError", "location"),
        ("http.client.BadStatusLine", "line"),
        ("subprocess.TimeoutExpired", "cmd, timeout"),
        ("json.JSONDecodeError", "msg, doc, pos"),
        (f"{__name__}.Coded", "code"),
        (f"{__name__}.Details", "details"),
    ],
)
def test_a_class_that_needs_more_than_a_message_is_refused_with_what(path: str, needs: str) -> None:
    pytest.importorskip(path.rpartition(".")[0], exc_type=ImportError)
    with pytest.raises(
        InvalidPlan, match=rf"with the arguments of its constructor: {needs}$"
    ) as caught:
        raised(path)
    assert caught.value.field == "exception"


@pytest.mark.parametrize(
    "path",
    [
        "httpx.ConnectTimeout",
        "asyncpg.exceptions.SerializationError",
        "pymongo.errors.OperationFailure",
        "elasticsearch.ConnectionTimeout",
        "urllib.error.URLError",
        f"{__name__}.Needy",
        f"{__name__}.KeywordOnly",
        f"{__name__}.FirstOfAll",
        f"{__name__}.Variadic",
        f"{__name__}.Annotated",
    ],
)
def test_a_class_that_needs_a_message_gets_ours(path: str) -> None:
    pytest.importorskip(path.rpartition(".")[0], exc_type=ImportError)
    error = raised(path)
    assert TEXT in str(error) or TEXT in error.args


@pytest.mark.parametrize(
    "path", ["TimeoutError", "redis.exceptions.ConnectionError", "socket.timeout"]
)
def test_a_class_that_needs_nothing_is_built_bare(path: str) -> None:
    pytest.importorskip(path.rpartition(".")[0] or "builtins")
    assert raised(path).args == ()


def test_what_is_needed_may_be_given() -> None:
    pytest.importorskip("fastapi")
    error: Any = raised({"type": "fastapi.HTTPException", "args": [503, "try later"]})
    assert (error.status_code, error.detail) == (503, "try later")
    pytest.importorskip("sqlalchemy")
    wrapped: Any = raised(
        {
            "type": "sqlalchemy.exc.OperationalError",
            "args": ["select 1", {}, {"type": "sqlite3.OperationalError", "args": ["locked"]}],
        }
    )
    assert type(wrapped.orig).__module__ == "sqlite3"
    assert "locked" in str(wrapped)


@pytest.mark.parametrize(
    "kind", [TimeoutError, KeyError, "httpx.ConnectTimeout", "socket.gaierror"]
)
def test_what_pickles_by_hand_pickles_when_injected(kind: Any) -> None:
    error = raised(kind)
    mark(error, injection := Injection("p", "exception", "p=raise", 1, "code", None, "x"), "a note")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, again.__notes__) == (type(error), error.args, ["a note"])
    assert injection_of(again) == injection


class Coded(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"{code} went wrong")


class Details(Exception):
    def __init__(self, details: dict[str, str]) -> None:
        super().__init__(details)


class Needy(Exception):
    """Cannot be shown without a message, as those that C makes of a server's answers."""

    def __str__(self) -> str:
        return str(self.args[0])


class KeywordOnly(Exception):
    def __init__(self, *, error_message: str) -> None:
        super().__init__(error_message)


class FirstOfAll(Exception):
    def __init__(self, message: str | None = None, code: int = 0) -> None:
        super().__init__(message)

    def __str__(self) -> str:
        text: str = self.args[0]
        return text.strip()


class Variadic(Exception):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.first = args[0]


class Annotated(Exception):
    def __init__(self, reason: Any) -> None:
        super().__init__(reason)


class Unshown(Exception):
    def __str__(self) -> str:
        raise ValueError("cannot say")


def test_what_cannot_be_shown_is_refused() -> None:
    for exception in (Unshown, {"type": Unshown, "args": [1]}, lambda: Unshown()):
        with pytest.raises(
            InvalidPlan, match="can be built, but not shown: ValueError: cannot say"
        ):
            raised(exception)
    with pytest.raises(
        InvalidPlan, match="cannot be shown: ValueError: cannot say; give one whose"
    ):
        raised(Unshown("instance"))


def test_the_modules_are_those_that_programs_use() -> None:
    there = [name for name in MODULES if _there(name)]
    assert {"httpx", "fastapi", "sqlalchemy.exc", "redis.exceptions", "celery.exceptions"} <= set(
        there
    )


def _there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
