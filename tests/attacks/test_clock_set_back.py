"""A rule of the store that has expired stays so, also where the wall clock is set back after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import python

from chaospoint.plan import Rule
from chaospoint.stores.desired import Desired
from chaospoint.stores.moments import Moment, moment

RULE = Rule.parse("bank.charge=raise(TimeoutError)")


def put(now: float, seconds: float = 60.0, desired: Desired | None = None) -> Desired:
    return (desired or Desired()).put([(RULE, None)], default_seconds=seconds, by="ops", now=now)


def left(desired: Desired, now: float) -> float:
    [entry] = desired.entries
    return entry.seconds_left(desired.time(now))


def test_time_goes_on_with_the_machine_where_the_wall_clock_goes_back() -> None:
    desired = put(Moment.of(1000.0, "boot", 50.0))
    assert left(desired, Moment.of(1020.0, "boot", 70.0)) == 40.0
    assert left(desired, Moment.of(1020.0 - 3600.0, "boot", 70.0)) == 40.0
    assert left(desired, Moment.of(1061.0 - 3600.0, "boot", 111.0)) <= 0


def test_what_comes_after_goes_by_the_same_time() -> None:
    """Each document carries it on, so that no later write begins anew with the time of day."""
    desired = put(Moment.of(1000.0, "boot", 50.0))
    back = Moment.of(1030.0 - 3600.0, "boot", 80.0)
    later = desired.release("bank.*", by="ops", now=back)
    assert (later.at, later.boot, later.uptime) == (1030.0, "boot", 80.0)
    assert left(later, Moment.of(1040.0 - 3600.0, "boot", 90.0)) == 20.0
    renewed = later.renew("bank.*", 60.0, by="ops", now=Moment.of(1040.0 - 3600.0, "boot", 90.0))
    assert left(renewed, Moment.of(1050.0 - 3600.0, "boot", 100.0)) == 50.0


def test_a_clock_that_is_set_forward_lets_rules_expire() -> None:
    desired = put(Moment.of(1000.0, "boot", 50.0))
    assert left(desired, Moment.of(5000.0, "boot", 51.0)) <= 0


@pytest.mark.parametrize("boot", ["", "another boot"])
def test_no_time_is_before_the_latest_change(boot: str) -> None:
    """Where nobody knows how much time has passed, it was some."""
    desired = put(Moment.of(1000.0, boot and "boot", 50.0))
    later = desired.release("bank.*", by="ops", now=Moment.of(1045.0, boot and "boot", 95.0))
    assert left(later, Moment.of(1000.0, boot, 3.0)) == 15.0
    assert left(later, Moment.of(1055.0, boot, 3.0)) == 5.0


def test_documents_of_earlier_versions_are_read() -> None:
    desired = put(1000.0)
    assert "boot" not in desired.text()
    assert left(Desired.parse(desired.text()), Moment.of(1030.0, "boot", 5.0)) == 30.0


def test_a_document_keeps_its_moment() -> None:
    desired = put(now := moment())
    again = Desired.parse(desired.text())
    assert (again.at, again.boot, again.uptime) == (now, now.boot, now.uptime)
    assert again.time(now) == now


def test_a_service_that_is_restarted_with_its_clock_an_hour_back_arms_nothing(
    tmp_path: Path,
) -> None:
    if not moment().boot:
        pytest.skip("this system does not tell one boot from another")
    url = f"file://{tmp_path}/store"
    service = f"""
        import time
        BACK = 0
        real = time.time
        time.time = lambda: real() - BACK
        import chaospoint
        from chaospoint.config import Settings
        from chaospoint.plan import Rule
        from chaospoint.stores import open_store
        from chaospoint.stores.moments import moment

        @chaospoint.point("bank.charge")
        def charge():
            return "paid"

        chaospoint.start(Settings(enabled=True, store="{url}"))
        store, registry = open_store("{url}"), chaospoint.Registry.default()
    """
    first = """
        import threading
        rules = [(Rule.parse("bank.charge=return(2)"), None)]
        expired = threading.Event()

        class Ends:
            def observe(self, injection):
                pass

            def notice(self, notice):
                if getattr(notice, "why", None) == "expired":
                    expired.set()

        registry.add_observer(Ends())

        def expire(seconds):
            # A busy machine may look at the store for the first time when it is too late.
            store.update(lambda one: one.disarm("*", by="ops", now=moment()))
            given = dict(default_seconds=seconds, by="ops")
            store.update(lambda one: one.put(rules, now=moment(), **given))
            expired.wait(2 * seconds + 2)
            return sum(rule.why == "expired" for rule in registry.engine.ended())

        print(next(filter(None, map(expire, (0.4, 0.8, 1.6, 3.2, 6.4)))))
    """
    again = """
        print(len(store.read().entries), registry.rules(), charge())
    """
    assert python(service + first).stdout.split() == ["1"]
    set_back = service.replace("BACK = 0", "BACK = 3600")
    assert python(set_back + again).stdout.split() == ["1", "()", "paid"]
