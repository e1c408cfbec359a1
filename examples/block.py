"""A point around a few lines (`with`), and as a statement (`hit`), in code that is no function.

python examples/block.py
"""

import sqlite3

import chaospoint

# Looked up once, kept in a module variable: in hot code `point(name)` would be a look-up a time.
DB_QUERY = chaospoint.point("db.query", description="one statement")
PUBLISH = chaospoint.point("queue.publish")

database = sqlite3.connect(":memory:")


def count(tenant: str) -> int:
    with DB_QUERY:
        (found,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    PUBLISH.hit(tenant=tenant)  # a label
    return int(found)


print(f"found {count('acme')}")

locked = {"type": sqlite3.OperationalError, "args": ["database is locked"]}
with chaospoint.armed("db.query", exception=locked, every=2) as armed:
    for attempt in (1, 2, 3, 4):
        try:
            count("acme")
            print(f"{attempt}: ok")
        except sqlite3.OperationalError as error:
            print(f"{attempt}: {error}")
print(f"injections: {armed.injections}")

with chaospoint.armed("queue.publish", exception=ConnectionError):
    try:
        count("acme")
    except ConnectionError:
        print("the statement failed after the block had passed")
