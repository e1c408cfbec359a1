"""Who guesses tokens waits longer and longer, and is told of in few lines."""

from __future__ import annotations

import logging

import pytest

from chaospoint.control.throttle import Guessed, Guesses, guessed


class Now:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_the_delay_doubles_up_to_two_seconds_and_is_forgotten_after_a_quiet_minute() -> None:
    now = Now()
    guesses = Guesses(now)
    delays = [guesses.wrong("192.0.2.7") for _ in range(8)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    now.seconds += 60.0
    assert guesses.wrong("192.0.2.7") == 2.0
    now.seconds += 60.5
    assert guesses.wrong("192.0.2.7") == 0.1


def test_a_guess_is_judged_without_a_clock_of_its_own() -> None:
    first = guessed(Guessed(), 5.0)
    assert first == Guessed(delay_seconds=0.1, latest=5.0, logged_at=5.0, unlogged=0, to_log=1)
    assert guessed(first, 5.0) == guessed(first, 5.0)


def test_a_flood_of_guesses_is_a_few_lines_with_the_count_and_the_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = Now()
    guesses = Guesses(now)
    for _ in range(1000):  # 64 a second, for 16 s
        guesses.wrong("192.0.2.7\nfake line")
        now.seconds += 1 / 64
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(" ")[0] for line in lines] == ["1"] * 6 + ["640"]
    assert lines[0] == (
        r"1 wrong token for the admin endpoint, the latest from '192.0.2.7\nfake line': the "
        "refusal is delayed by 0.1 s"
    )
    assert "640 wrong tokens" in lines[-1]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_client_without_an_address_is_a_socket(caplog: pytest.LogCaptureFixture) -> None:
    Guesses().wrong("")
    assert "the latest from 'a socket'" in caplog.text
