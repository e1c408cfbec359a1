"""The store without a server: a real directory, followed by a worker or by nobody."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Cli, complaint, said, told

from chaospoint.cli import store_target
from chaospoint.errors import StoreBusy, StoreError
from chaospoint.plan import Rule
from chaospoint.stores import acknowledging
from chaospoint.stores.memory import MemoryStore
from chaospoint.stores.store import Store, Worker

Follow = Callable[..., Worker]


@pytest.fixture
def there(cli: Cli, store: Store) -> Cli:
    """The command line, for the store."""

    def there(*arguments: str) -> Any:
        return cli(*arguments, "--store", store.url)

    return there


def test_what_is_armed_stands_in_the_store_for_ten_minutes(
    there: Cli, store: Store, follow: Follow
) -> None:
    follow("payment.charge")
    text = said(there("arm", "payment.charge=2*off->latency(1)"))
    assert "payment.charge: armed, in force in 1 of 1 workers, generation 2" in text
    first, second = store.read().entries
    assert (str(first.rule), str(second.rule)) == (
        "payment.charge=2*off",
        "payment.charge=latency(1s)",
    )
    assert (first.expires_after, first.by.split()[0]) == (600, "cli")
    assert abs(time.time() - first.armed_at) < 60
    said(there("arm", "payment.charge", "off", "--expires-after", "5s", "--seed", "7"))
    [entry] = store.read().entries
    assert (entry.expires_after, entry.seed) == (5, 7), "it comes in place of the others"


def test_answers_have_the_shape_of_the_admin_api(
    there: Cli, cli: Cli, url: str, store: Store, follow: Follow
) -> None:
    """What the store cannot know is null in them."""
    follow("payment.charge")
    for command in (
        ["points"],
        ["status"],
        ["workers"],
        ["plan", "show"],
        ["arm", "payment.charge", "off"],
        ["points"],
        ["status"],
        ["plan", "show"],
        ["release", "payment.*"],
        ["disarm", "payment.*"],
        ["disable"],
        ["enable"],
    ):
        ours, theirs = told(there(*command, "--json")), told(cli(*command, "--json", "--url", url))
        # Of the answers to writes, and of the one service that has no store.
        extra = {"remarks", "description", "armed", "forbidden", "placements", "reached"}
        assert set(ours) - extra == set(theirs) - extra, command
        for key in ("rules", "points", "workers"):
            if isinstance(ours.get(key), list) and ours[key]:
                assert set(ours[key][0]) == set(theirs[key][0]), (command, key)


def test_points_are_those_that_workers_know(there: Cli, follow: Follow) -> None:
    follow("db.query", "payment.charge")
    follow("payment.charge", "payment.refund")
    said(there("arm", "payment.*", "off"))
    said(there("disarm", "payment.refund"))
    points = told(there("points", "--json"))["points"]
    assert [(one["name"], one["armed"]) for one in points] == [
        ("db.query", False),
        ("payment.charge", True),
        ("payment.refund", False),
    ]
    [rule] = told(there("status", "--json"))["rules"]
    assert rule["why"] == "without payment.refund"


def test_a_name_that_no_worker_has_is_refused_with_the_nearest(
    there: Cli, store: Store, follow: Follow
) -> None:
    follow("payment.charge")
    document = told(there("arm", "payment.chrage", "off", "--json"), 1)
    assert (document["status"], document["nearest"]) == (404, ["payment.charge"])
    assert "--force" in complaint(there("arm", "payment.chrage", "off"), 1)
    assert store.read().entries == ()
    done = there("arm", "payment.chrage", "off", "--force")
    assert "armed" in said(done)
    assert "did you mean 'payment.charge'?" in done.stderr


def test_without_workers_it_is_written_and_said_that_nobody_is_there(
    there: Cli, store: Store
) -> None:
    for command in (["arm", "any.point", "off"], ["disarm", "any.*"], ["disable"], ["enable"]):
        done = there(*command)
        assert "in force in 0 of 0 workers" in said(done)
        assert f"no worker follows {store.url}" in done.stderr
    assert store.read().generation == 4


def test_disarming_what_nobody_knows_is_done_and_remarked(
    there: Cli, store: Store, follow: Follow
) -> None:
    """Whoever disarms at night may know better than the list of names, which has an end."""
    follow("payment.charge")
    done = there("disarm", "payment.chrage")
    assert "0 disarmed" in said(done)
    assert "did you mean 'payment.charge'?" in done.stderr
    assert [order.pattern for order in store.read().orders] == ["payment.chrage"]


def test_everything_is_no_name_that_nobody_knows(there: Cli, follow: Follow) -> None:
    follow()
    done = there("disarm")
    assert (said(done)[:14], done.stderr) == ("*: 0 disarmed,", "")


def test_disarmed_counts_the_rules_that_were_touched(there: Cli, follow: Follow) -> None:
    follow("db.query", "db.commit", "payment.charge")
    for name in ("db.*", "db.query", "payment.charge"):
        said(there("arm", name, "off"))
    assert told(there("disarm", "db.query", "--json"))["disarmed"] == 2
    assert told(there("disarm", "--json"))["disarmed"] == 2


def test_release_is_an_order(there: Cli, store: Store, follow: Follow) -> None:
    follow("payment.charge")
    assert said(there("release", "payment.*")).startswith("payment.*: released, in force in 1 of 1")
    [order] = store.read().orders
    assert (order.what, order.pattern) == ("release", "payment.*")


def test_disabled_refuses_to_arm_until_enabled(there: Cli, store: Store, follow: Follow) -> None:
    follow("payment.charge")
    said(there("arm", "payment.charge", "off"))
    assert told(there("disable", "--json"))["rules"] == []
    message = complaint(there("arm", "payment.charge", "off"), 1)
    assert message.count("`chaospoint enable` or POST /v1/enable") == 1
    said(there("enable"))
    said(there("arm", "payment.charge", "off"))


def test_disable_works_where_the_document_cannot_be_read(
    there: Cli, store: Store, tmp_path: Path
) -> None:
    said(there("arm", "any.point", "off"))
    [document] = [one for one in (tmp_path / "store").glob("*.json") if one.is_file()]
    document.write_text("{")
    assert document.name in complaint(there("status"), 1)
    assert told(there("status", "--json"), 1)["type"].endswith(":store-unusable")
    complaint(there("disarm"), 1)
    assert told(there("disable", "--json"))["enabled"] is False
    assert store.read().enabled is False


def test_one_point_is_shown_with_what_the_store_holds_on_it(there: Cli, follow: Follow) -> None:
    follow("db.query", "db.commit")
    there("arm", "db.*", "latency(1ms)")
    there("disarm", "db.commit")
    one = told(there("points", "db.query", "--json"))
    assert (one["name"], one["armed"], len(one["rules"])) == ("db.query", True, 1)
    other = told(there("points", "db.commit", "--json"))
    assert (other["armed"], other["rules"]) == (False, [])
    assert "db.query" in complaint(there("points", "db.qurey"), 1)


def test_the_status_says_why_it_is_off(there: Cli) -> None:
    there("disable", "--reason", "it burns")
    assert told(there("status", "--json"))["why"] == "the master switch is off (it burns)"
    there("enable")
    there("disable")
    assert told(there("status", "--json"))["why"] == "the master switch is off"


def test_disable_is_said_to_be_written_where_the_workers_cannot_be_read(
    there: Cli, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_store: Store) -> Any:
        raise StoreError("it is broken")

    monkeypatch.setattr(type(store), "workers", broken)
    done = there("disable")
    assert said(done, 4) == "disabled, in force in 0 of 1 workers, generation 1\n"
    assert (
        done.stderr
        == "chaospoint: the change is written, but the workers cannot be read: it is broken\n"
    )
    assert store.read().enabled is False


def test_a_worker_that_refuses_is_exit_code_4_with_its_reason(there: Cli, follow: Follow) -> None:
    follow("payment.charge")
    follow("payment.charge", refusal="no such exception")
    done = there("arm", "payment.charge", "raise(no_module_here.Declined)")
    assert "in force in 1 of 2 workers" in said(done, 4)
    assert (
        done.stderr
        == f"chaospoint: pid {os.getpid()} has not applied the change: no such exception\n"
    )


def test_the_store_is_tried_again_while_somebody_else_writes_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waited: list[float] = []

    class Busy(MemoryStore):
        url = tmp_path.as_uri()

        def update(self, *arguments: Any, **options: Any) -> Any:
            if len(waited) < 3:
                raise StoreBusy("somebody else writes it")
            return super().update(*arguments, **options)

    monkeypatch.setattr(store_target, "open_store", lambda _url: Busy())
    monkeypatch.setattr(acknowledging, "sleep", waited.append)
    said(cli("disable", "--store", "file:///busy"))
    assert len(waited) == 3
    assert all(0 < seconds < 1 for seconds in waited)


def test_what_only_a_process_knows_is_asked_of_one(there: Cli, follow: Follow) -> None:
    follow("payment.charge")
    assert "--url" in complaint(there("injections"), 2)
    assert "--url" in complaint(there("arm", "payment.charge", "off", "--dry-run"), 2)


def test_a_rule_for_a_context_is_refused(there: Cli, store: Store) -> None:
    body = '{"latency": 1, "scope": "context"}'
    assert "only rules that code arms can be limited" in complaint(there("arm", "a.b", body), 1)
    assert store.read().generation == 0


def test_a_rule_that_ended_is_not_shown(there: Cli, store: Store) -> None:
    rule = Rule(point="a.b", latency=1, expires_after=5)
    store.update(
        lambda desired: desired.put(
            [(rule, None)], default_seconds=600, by="", now=time.time() - 60
        )
    )
    assert told(there("status", "--json"))["rules"] == []
    assert told(there("plan", "show", "--json")) == {"rules": []}
    assert told(there("disarm", "--json"))["disarmed"] == 0


def test_the_store_stays_its_owners_alone(there: Cli, tmp_path: Path) -> None:
    said(there("disable"))
    for path in (tmp_path / "store").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_what_the_store_refuses_is_in_the_audit_log_as_well(there: Cli, store: Store) -> None:
    said(there("disable"))
    complaint(there("arm", "payment.charge", "off", "--force"), 1)
    log = Path(store.url.removeprefix("file://")) / "audit.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one["status"] for one in entries[-2:]] == [200, 409]
