"""Who forgets ``CHAOSPOINT_ENABLED`` is told, and nobody else."""

from __future__ import annotations

import logging

import pytest

from chaospoint._environ import KNOWN, remind
from chaospoint.sources.settings import Settings

NOT_STARTED = (
    "set, but CHAOSPOINT_ENABLED is not: chaospoint did not start. "
    "Set CHAOSPOINT_ENABLED=true to start it, or =false to silence this warning"
)


def test_every_setting_is_known() -> None:
    by_code = "despite_environment"  # no variable says it
    assert tuple(name.upper() for name in Settings.model_fields if name != by_code) == KNOWN


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["CHAOSPOINT_ADMIN"], f"CHAOSPOINT_ADMIN is {NOT_STARTED}"),
        (
            ["CHAOSPOINT_POINTS", "CHAOSPOINT_ADMIN", "CHAOSPOINT_SEED"],
            f"CHAOSPOINT_ADMIN, CHAOSPOINT_POINTS are {NOT_STARTED}",
        ),
        (
            ["CHAOSPOINT_ENABLE"],
            f"CHAOSPOINT_ENABLE (did you mean CHAOSPOINT_ENABLED?) is {NOT_STARTED}",
        ),
    ],
)
def test_a_forgotten_switch_is_one_warning(
    names: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in names:
        monkeypatch.setenv(name, "1")
    remind()
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, said)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"CHAOSPOINT_SEED": "7"},  # code that arms obeys it
        {"CHAOSPOINT_ADMIN": "true", "CHAOSPOINT_ENABLED": "true"},
        {"CHAOSPOINT_ADMIN": "true", "CHAOSPOINT_ENABLED": "false"},
    ],
)
def test_nothing_is_said_where_nothing_was_forgotten(
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    remind()
    assert not caplog.records
