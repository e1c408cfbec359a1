"""Draws: pure, uniform, one stream per purpose, the same for ever."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import chaospoint
from chaospoint._kernel.chance import Draws, derive, draw_seed


def test_the_same_seed_purpose_and_ordinal_draw_the_same() -> None:
    assert Draws(1, 5).uniform("jitter") == Draws(1, 5).uniform("jitter")
    draws = Draws(1, 5)
    assert draws.uniform("jitter") == draws.uniform("jitter")


def test_streams_are_apart() -> None:
    seen = {
        Draws(seed, ordinal).uniform(purpose)
        for seed in (1, 2)
        for ordinal in (1, 2)
        for purpose in ("jitter", "outcome", "choice")
    }
    assert len(seen) == 12


def test_draws_are_uniform_in_0_to_1() -> None:
    drawn = [Draws(3, ordinal).uniform("outcome") for ordinal in range(1, 20_001)]
    assert all(0.0 <= one < 1.0 for one in drawn)
    for tenth in range(10):
        share = sum(tenth <= one * 10 < tenth + 1 for one in drawn)
        assert abs(share - 2_000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5


def test_draws_never_change() -> None:
    assert derive(7, "payment.charge", 1) == 5252946456211503610
    assert Draws(7, 3).uniform("outcome") == 0.49395827160199934


def test_derived_seeds_do_not_depend_on_the_process() -> None:
    source = str(Path(chaospoint.__file__).parents[1])
    code = "from chaospoint._kernel.chance import derive; print(derive(7, 'a', 1))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": source, "PYTHONHASHSEED": str(salt)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in (1, 2)
    }
    assert seen == {f"{derive(7, 'a', 1)}\n"}


def test_derived_seeds_have_63_bits_and_tell_parts_apart() -> None:
    seeds = [derive(n, "p") for n in range(2_000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
    assert len(set(seeds)) == len(seeds)
    assert derive(1, "ab", "c") != derive(1, "a", "bc")


def test_a_drawn_seed_is_fresh_short_and_not_the_programs_own_chance() -> None:
    random.seed(1)
    first = draw_seed()
    random.seed(1)
    assert first != draw_seed()
    assert all(1 <= draw_seed() < 2**32 for _ in range(100))
