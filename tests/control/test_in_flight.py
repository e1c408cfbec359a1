"""InFlight under way are let out before a fork or an end; nobody waits for ever."""

from __future__ import annotations

from threading import Event, Thread

from chaospoint.control.server.in_flight import InFlight


def test_shutting_waits_for_what_is_under_way_and_holds_back_what_comes() -> None:
    replies = InFlight()
    entered, leave, second = Event(), Event(), Event()

    def first() -> None:
        with replies:
            entered.set()
            leave.wait(10)

    def then() -> None:
        with replies:
            second.set()

    one = Thread(target=first)
    one.start()
    assert entered.wait(10)
    assert replies.shut(0.01) is False
    two = Thread(target=then)
    two.start()
    leave.set()
    assert replies.shut(10) is True
    assert not second.is_set()
    replies.open()
    assert second.wait(10)
    one.join(10)
    two.join(10)
    assert replies.shut(0) is True


def test_a_reply_that_fails_is_out_too() -> None:
    replies = InFlight()
    try:
        with replies:
            raise ConnectionError
    except ConnectionError:
        pass
    assert replies.shut(0) is True


def test_who_waits_when_it_is_closed_does_not_begin() -> None:
    """A write that was held back must not come into force after the stop."""
    replies = InFlight()
    assert replies.shut(0)
    outcome: list[str] = []

    def wait() -> None:
        try:
            with replies:
                outcome.append("began")
        except ConnectionAbortedError:
            outcome.append("turned away")

    waiting = Thread(target=wait)
    waiting.start()
    replies.close()
    waiting.join(10)
    assert outcome == ["turned away"]
