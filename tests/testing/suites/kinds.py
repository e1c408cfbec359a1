"""Tests of all kinds: of unittest, asyncio, anyio and hypothesis."""

from __future__ import annotations

import unittest
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop import charge, refund

import chaospoint
from chaospoint.testing import Chaos

expected = pytest.mark.expected
EXAMPLES = settings(max_examples=5, database=None)


class TestOfUnittest(unittest.TestCase):
    def setUp(self) -> None:
        charge()  # uses up nothing

    def tearDown(self) -> None:
        assert charge(6) == 6

    @pytest.mark.chaos("payment.charge", exception=TimeoutError, times=1)
    def test_marked(self) -> None:
        with pytest.raises(TimeoutError):
            charge()

    @expected("failed", "payment.refund", "never reached")
    @pytest.mark.chaos("payment.refund", exception=TimeoutError, times=1)
    def test_never(self) -> None:
        pass

    @expected("failed", "assert 1 == 2", "told: payment.refund", "told: repeat it")
    @pytest.mark.chaos("payment.refund", exception=TimeoutError, times=1)
    def test_own_failure(self) -> None:
        assert 1 == 2

    @expected("error", "payment.charge", "left armed")
    def test_leak(self) -> None:
        self.addCleanup(charge)
        chaospoint.arm("payment.charge", latency=0)

    @expected("skipped")
    @pytest.mark.chaos("payment.refund", exception=TimeoutError, times=1)
    def test_skip(self) -> None:
        self.skipTest("not today")

    def test_entered(self) -> None:
        chaos = self.enterContext(Chaos())
        chaos.arm("payment.charge", returns=5, times=1)
        assert charge() == 5

    @pytest.mark.chaos("payment.charge", returns=5, times=1)
    def test_entered_and_marked(self) -> None:
        self.enterContext(Chaos())  # ends before what the marker armed
        assert charge() == 5

    @expected("failed", "payment.refund", "never reached")
    def test_entered_and_never(self) -> None:
        chaos = self.enterContext(Chaos())
        chaos.arm("payment.refund", returns=5)


@pytest.mark.unclean
class TestOfUnittestForItsLife(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(chaospoint.armed("payment.charge", returns=9))

    def test_one(self) -> None:
        assert charge() == 9

    def test_two(self) -> None:
        assert charge() == 9


@pytest.mark.chaos("payment.refund", exception=TimeoutError, times=1, scope="context")
class TestOfAsyncUnittest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        await refund()

    async def test_marked(self) -> None:
        with pytest.raises(TimeoutError):
            await refund()

    @expected("failed", "payment.refund", "never fired")
    async def test_never(self) -> None:
        pass


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.chaos("payment.refund", exception=TimeoutError, scope="context")
class TestOfCoroutines:
    @pytest.mark.asyncio
    async def test_asyncio(self) -> None:
        with pytest.raises(TimeoutError):
            await refund()

    @pytest.mark.anyio
    async def test_anyio(self) -> None:
        with pytest.raises(TimeoutError):
            await refund()

    @pytest.mark.asyncio
    async def test_beside_the_fixture(self, chaos: Chaos) -> None:
        chaos.arm("payment.refund", returns=4, times=1, scope="context")
        assert await refund() == 4
        with pytest.raises(TimeoutError):
            await refund()
        found: list[int] = []
        thread = Thread(target=lambda: found.append(charge(3)))
        thread.start()
        thread.join()
        assert found == [3]

    @expected("failed", "payment.refund", "never reached")
    @pytest.mark.asyncio
    async def test_asyncio_never(self) -> None:
        pass

    @expected("failed", "payment.refund", "never reached")
    @pytest.mark.anyio
    async def test_anyio_never(self) -> None:
        pass


@pytest.mark.chaos("payment.charge", exception=TimeoutError)
@EXAMPLES
@given(n=st.integers())
def test_hypothesis(n: int) -> None:
    with pytest.raises(TimeoutError):
        charge(n)


@expected("failed", "payment.charge", "never reached")
@pytest.mark.chaos("payment.charge", exception=TimeoutError)
@EXAMPLES
@given(n=st.integers())
def test_hypothesis_never(n: int) -> None:
    pass


@settings(EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers())
def test_hypothesis_with_the_fixture(chaos: Chaos, n: int) -> None:
    with chaos.armed("payment.charge", returns=8) as armed:
        assert charge(n) == 8
    assert armed.injections == 1


@pytest.mark.asyncio
@pytest.mark.chaos("payment.refund", exception=TimeoutError)
@EXAMPLES
@given(n=st.integers())
async def test_hypothesis_of_coroutines(n: int) -> None:
    with pytest.raises(TimeoutError):
        await refund(n)


@pytest.mark.asyncio
@pytest.mark.chaos("payment.refund", exception=TimeoutError, scope="context")
@EXAMPLES
@given(n=st.integers())
async def test_hypothesis_of_coroutines_in_scope(n: int) -> None:
    with pytest.raises(TimeoutError):
        await refund(n)


@pytest.mark.anyio
@pytest.mark.chaos("payment.refund", exception=TimeoutError, scope="context")
@EXAMPLES
@given(n=st.integers())
async def test_hypothesis_of_anyio_in_scope(n: int) -> None:
    with pytest.raises(TimeoutError):
        await refund(n)


def test_subtests_of_pytest(subtests: pytest.Subtests, chaos: Chaos) -> None:
    for n in range(2):
        with subtests.test(n=n), chaos.armed("payment.charge", returns=8):
            assert charge(n) == 8
