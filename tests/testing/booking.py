"""A service that handles the failure of each of its calls; the mutants are made from it.

Each test reads this as text and runs it. Each call must be in its ``try``: if it is moved out,
`book` raises or breaks a promise.
"""

from __future__ import annotations

import asyncio

from chaospoint import Registry

registry = Registry()


class Down(Exception):
    """Another service is not available."""


done: list[str] = []


def call(name: str):
    """Return a call to another service."""

    @registry.point(name, raises=Down)
    def called() -> str:
        done.append(name)
        return name

    return called


def acall(name: str):
    """Return an asynchronous call to another service."""

    @registry.point(name, raises=Down)
    async def called() -> str:
        await asyncio.sleep(0)
        done.append(name)
        return name

    return called


cache_get, cache_put, cache_drop = call("cache.get"), call("cache.put"), call("cache.drop")
db_load, db_save, db_note = call("db.load"), call("db.save"), call("db.note")
rooms, hold, release = call("rooms.free"), call("rooms.hold"), call("rooms.release")
charge, refund, receipt = acall("bank.charge"), acall("bank.refund"), acall("bank.receipt")
mail, text, push = acall("mail.send"), acall("text.send"), acall("push.send")
text_again = acall("text.again")
rate, weather, taxes = call("rate.get"), call("weather.get"), call("taxes.get")
publish, count, trace = call("queue.publish"), call("metrics.count"), call("trace.write")


def looked_up() -> str:
    try:
        cache_get()
    except Down:
        done.append("no cache")
    for _ in range(3):
        try:
            found = db_load()
            break
        except Down:
            found = "unknown"
    try:
        cache_put()
    except Down:
        done.append("not cached")
    return found


def priced() -> list[str]:
    parts = []
    try:
        parts.append(rate())
    except Down:
        parts.append("yesterday's rate")
    try:
        parts.append(taxes())
    except Down:
        parts.append("taxes at the desk")
    try:
        parts.append(weather())
    except Down:
        pass
    return parts


def held() -> bool:
    try:
        rooms()
        hold()
    except Down:
        try:
            release()
        except Down:
            done.append("to be released at night")
        return False
    return True


async def paid() -> bool:
    for _ in range(2):
        try:
            await charge()
            break
        except Down:
            continue
    else:
        return False
    try:
        await receipt()
    except Down:
        done.append("receipt by post")
    return True


def kept() -> bool:
    for _ in range(3):
        try:
            db_save()
            return True
        except Down:
            continue
    return False


async def told() -> None:
    try:
        await mail()
    except Down:
        try:
            await text_again()
        except Down:
            done.append("told at the desk")
    try:
        await push()
    except Down:
        pass


async def undone() -> None:
    for _ in range(3):
        try:
            await refund()
            break
        except Down:
            done.append("refund again")
    try:
        release()
    except Down:
        done.append("to be released at night")
    try:
        cache_drop()
        db_note()
    except Down:
        done.append("stale for an hour")


def watched(what: str) -> None:
    try:
        count()
    except Down:
        pass
    try:
        trace()
        publish()
    except Down:
        done.append(f"{what} is not seen")


async def changed() -> None:
    try:
        await charge()
    except Down:
        done.append("charged at the desk")
    try:
        await mail()
        await text()
    except Down:
        done.append("told at the desk")
    for _ in range(2):
        try:
            db_save()
            db_note()
            break
        except Down:
            done.append("kept again")
    try:
        cache_drop()
        cache_put()
    except Down:
        done.append("stale for an hour")


async def left() -> None:
    try:
        release()
        rooms()
    except Down:
        done.append("counted at night")
    try:
        await receipt()
        await push()
    except Down:
        pass
    try:
        db_load()
    except Down:
        done.append("no farewell")


async def book() -> None:
    """Book, change and cancel a stay."""
    done.clear()
    looked_up()
    assert 2 <= len(priced()) <= 3
    if held() and await paid() and kept():
        await told()
    watched("booking")
    await changed()
    watched("change")
    await undone()
    await left()
    assert done.count("bank.charge") <= 2
