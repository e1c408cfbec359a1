"""`where` goes by the names that a function shows, whatever its code takes."""

from __future__ import annotations

import functools
import operator
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from helpers import Boom, finish

import chaospoint
from chaospoint import Registry
from chaospoint.errors import ChaosWarning


def behind(function: Any) -> Any:
    """Decorate as most libraries do: the wrapper takes anything and shows the function."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def behind_self(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(client: Any, *args: Any, timeout: float = 1.0, **kwargs: Any) -> Any:
        return function(client, *args, **kwargs)

    return wrapper


def behind_async(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def call(self: str, operation: str, params: Any = None, *, region: str = "eu", tries: int) -> str:
    return operation


GIVEN: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "by position": (("client", "List", {"a": 1}), {"region": "us", "tries": 2}),
    "by keyword": (
        ("client",),
        {"operation": "List", "params": {"a": 1}, "region": "us", "tries": 2},
    ),
}
ASKED: list[dict[str, Any]] = [
    {"operation": "List"},
    {"self": "client"},
    {"params": {"a": 1}},
    {"region": "us", "tries": 2},
    {"operation": ["Get", "Li*"]},
]


@pytest.mark.parametrize("wrap", [behind, behind_self, behind_async])
@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("when", ["before", "after"])
def test_arguments_are_found_by_the_names_shown(
    wrap: Any, given: str, when: Any, registry: Registry
) -> None:
    wrapped = registry.point("aws.call")(wrap(call))
    args, kwargs = GIVEN[given]
    for where in ASKED:
        with chaospoint.armed(
            "aws.call", exception=Boom, where=where, when=when, registry=registry
        ) as armed:
            with pytest.raises(Boom):
                finish(wrapped(*args, **kwargs))
            finish(wrapped("another", "Put", region="af", tries=9))
        assert armed.injections == 1


@pytest.mark.parametrize("wrap", [behind, behind_self])
def test_a_default_that_was_not_overridden_counts(wrap: Any, registry: Registry) -> None:
    wrapped = registry.point("aws.call")(wrap(call))
    chaospoint.arm("aws.call", exception=Boom, where={"region": "eu"}, registry=registry)
    with pytest.raises(Boom):
        wrapped("client", "List", tries=1)
    assert wrapped("client", "List", tries=1, region="us") == "List"


def test_the_arguments_of_the_wrapper_itself_count_too(registry: Registry) -> None:
    wrapped = registry.point("aws.call")(behind_self(call))
    chaospoint.arm("aws.call", exception=Boom, where={"timeout": 3}, registry=registry)
    with pytest.raises(Boom):
        wrapped("client", "List", tries=1, timeout=3)
    assert wrapped("client", "List", tries=1) == "List"


def test_a_wrong_call_fails_as_ever(registry: Registry) -> None:
    wrapped = registry.point("aws.call")(behind(call))
    chaospoint.arm("aws.call", exception=Boom, where={"operation": "List"}, registry=registry)
    with pytest.raises(TypeError, match="missing"):
        wrapped()


@pytest.mark.parametrize("wrap", [behind, behind_self, behind_async])
def test_a_name_that_the_signature_does_not_have_is_reported_when_arming(
    wrap: Any, registry: Registry
) -> None:
    kept = registry.point("aws.call")(wrap(call))
    with pytest.warns(ChaosWarning, match="has the label or argument 'operatoin'"):
        chaospoint.arm("aws.call", exception=Boom, where={"operatoin": "x"}, registry=registry)
    assert kept is not None


def test_a_function_that_shows_keywords_of_any_name_may_be_asked_for_any(
    registry: Registry,
) -> None:
    def anything(first: int, **rest: int) -> int:
        return first

    wrapped = registry.point("aws.call")(behind(anything))
    chaospoint.arm("aws.call", exception=Boom, where={"tenant": 1}, registry=registry)
    with pytest.raises(Boom):
        wrapped(1, tenant=1)
    assert wrapped(1) == 1


def test_a_signature_that_cannot_be_read_leaves_the_names_of_the_code(registry: Registry) -> None:
    def fetch(key: int) -> int:
        return key

    fetch.__signature__ = 7  # type: ignore[attr-defined]
    registry.point("aws.call")(fetch)
    chaospoint.arm("aws.call", exception=Boom, where={"key": 1}, registry=registry)
    with pytest.raises(Boom):
        fetch(1)


class Callme:
    def __call__(self, key: int) -> int:
        return key


WRAPPED: list[Callable[..., Any]] = [Callme(), functools.partial(call, "client")]


@pytest.mark.parametrize("target", WRAPPED, ids=["object", "partial"])
def test_a_wrapped_callable_says_which_names_it_has(target: Any, registry: Registry) -> None:
    kept = registry.point("p")(target)
    with pytest.warns(ChaosWarning, match="has the label or argument 'kez'"):
        chaospoint.arm("p", exception=Boom, where={"kez": 1}, registry=registry)
    del kept


def test_a_warning_says_that_arguments_of_a_builtin_without_a_signature_have_no_names(
    registry: Registry,
) -> None:
    labelled = registry.point("p", labels={"unit": "s"})
    kept = labelled(max)
    with pytest.warns(ChaosWarning, match="builtins:max .* has no signature"):
        chaospoint.arm("p", exception=Boom, where={"key": 1}, registry=registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chaospoint.arm("p", exception=Boom, where={"unit": "s"}, registry=registry)
        with pytest.raises(Boom):
            kept(0, 1)


def test_a_builtin_with_a_signature_is_asked_by_position(registry: Registry) -> None:
    kept = registry.point("p")(operator.truth)
    chaospoint.arm("p", exception=Boom, where={"a": 0}, registry=registry)
    assert kept(1) is True
    with pytest.raises(Boom):
        kept(0)


def test_an_operation_of_botocore(registry: Registry) -> None:
    session = pytest.importorskip("botocore.session").get_session()
    base = pytest.importorskip("botocore.client").BaseClient
    registry.point("aws.call")(base._make_api_call)
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "eu-west-1"}
    client = session.create_client("sts", **keys)
    where = {"operation_name": "GetCallerIdentity"}
    armed = chaospoint.arm("aws.call", exception=Boom, where=where, registry=registry)
    with pytest.raises(Boom):
        client.get_caller_identity()
    armed.disarm()
    assert armed.injections == 1
