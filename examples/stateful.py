"""Random operations under random plans of faults: what has to hold, whatever fails.

pytest examples/stateful.py
"""

from collections import Counter

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import chaospoint
from chaospoint.testing import plans


class Ledger:
    """What would be a database: an entry is kept once, however often it is written."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []

    @chaospoint.point("ledger.write", raises=(ConnectionError, TimeoutError))
    def write(self, key: str, cents: int) -> None:
        if (key, cents) not in self.entries:
            self.entries.append((key, cents))


class CarelessLedger(Ledger):
    """The planted bug: it believes that a write which failed was not done."""

    @chaospoint.point("ledger.write")
    def write(self, key: str, cents: int) -> None:
        self.entries.append((key, cents))


class Account:
    """The service: it tries three times, and says whether the money is surely there."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def deposit(self, key: str, cents: int) -> bool:
        for _ in range(3):
            try:
                self._ledger.write(key, cents)
                return True
            except OSError:  # ConnectionError and TimeoutError are such
                continue
        return False


class Deposits(RuleBasedStateMachine):
    """What may happen, in any order, and what has to hold after each step."""

    ledger = Ledger

    def __init__(self) -> None:
        super().__init__()
        self.kept = self.ledger()
        self.account = Account(self.kept)
        self.asked: dict[str, int] = {}
        self.promised: set[str] = set()

    @initialize(plan=plans("ledger.*", max_latency="1ms"))
    def arm(self, plan: chaospoint.Plan) -> None:
        chaospoint.arm(plan)

    @rule()
    def disarm(self) -> None:
        chaospoint.disarm()

    @rule(cents=st.integers(1, 100))
    def deposit(self, cents: int) -> None:
        key = f"order-{len(self.asked)}"
        self.asked[key] = cents
        self.send(key)

    @rule()
    def send_again_what_failed(self) -> None:
        for key in sorted(self.asked.keys() - self.promised):
            self.send(key)

    def send(self, key: str) -> None:
        if self.account.deposit(key, self.asked[key]):
            self.promised.add(key)

    @invariant()
    def nothing_is_booked_twice(self) -> None:
        assert all(times == 1 for times in Counter(self.kept.entries).values()), self.kept.entries

    @invariant()
    def what_was_promised_is_booked(self) -> None:
        booked = dict(self.kept.entries)
        assert self.promised <= booked.keys()
        assert booked.items() <= self.asked.items()

    def teardown(self) -> None:
        chaospoint.disarm()


TestDeposits = Deposits.TestCase
TestDeposits.settings = settings(max_examples=50, stateful_step_count=8, deadline=None)


class CarelessDeposits(Deposits):
    ledger = CarelessLedger


def test_the_planted_bug_is_found_and_one_lost_answer_is_enough_to_show_it() -> None:
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(
            CarelessDeposits,
            settings=settings(
                TestDeposits.settings,
                max_examples=200,
                derandomize=True,
                database=None,
                phases=[Phase.generate, Phase.shrink],
            ),
        )
    told = "\n".join(caught.value.__notes__)
    print(told)  # how to repeat it, as a failure would show it: pytest -s examples/stateful.py
    assert told.count("Rule(") == 1
    assert "when='after'" in told
    assert "times=1" in told
