"""Orders and stock in SQLite, through SQLAlchemy, with a chaos point at each of three places.

- `db.query`, a statement, where SQLAlchemy calls the driver: the innermost place there is. An
  sqlite3 error raised here is wrapped, rolled back and returned to the pool like a real one.
- `inventory.check`, a decorated method: the whole question to the inventory.
- `orders.save`, a `with` block: the transaction that stores a new order.

No method retries: that is the caller's business, so a retry passes the points anew.
"""

import sqlite3
from typing import Any

from sqlalchemy import create_engine, event, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import chaospoint

DB_QUERY = chaospoint.point(
    "db.query",
    description="one statement given to the SQLite driver",
    raises=sqlite3.OperationalError,
)
ORDERS_SAVE = chaospoint.point(
    "orders.save",
    description="the transaction that stores an order",
    raises=(SQLAlchemyError, PoolTimeout),
)


class Base(DeclarativeBase):
    pass


class Stock(Base):
    __tablename__ = "stock"
    item: Mapped[str] = mapped_column(primary_key=True)
    left: Mapped[int]


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str]
    cents: Mapped[int]
    status: Mapped[str] = mapped_column(default="pending")


class Store:
    """All that is kept. Methods block (call them from a thread) and raise SQLAlchemy's errors."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        event.listen(self.engine, "connect", _write_ahead)
        event.listen(self.engine, "do_execute", _reach_db_query)
        Base.metadata.create_all(self.engine)
        with Session(self.engine) as session, session.begin():
            session.merge(Stock(item="lamp", left=1_000_000))

    @chaospoint.point("inventory.check", raises=(SQLAlchemyError, PoolTimeout))
    def in_stock(self, item: str) -> bool:
        with Session(self.engine) as session:
            stock = session.get(Stock, item)
            return stock is not None and stock.left > 0

    def save(self, order_id: str, item: str, cents: int) -> None:
        with ORDERS_SAVE, Session(self.engine) as session, session.begin():
            session.add(Order(id=order_id, item=item, cents=cents))

    def mark_paid(self, order_id: str) -> None:
        with Session(self.engine) as session, session.begin():
            session.execute(update(Order).where(Order.id == order_id).values(status="paid"))

    def status(self, order_id: str) -> str | None:
        with Session(self.engine) as session:
            order = session.get(Order, order_id)
            return order.status if order else None

    def close(self) -> None:
        self.engine.dispose()


def _reach_db_query(*_: Any) -> None:
    DB_QUERY.hit()  # returning None lets SQLAlchemy go on and execute the statement


def _write_ahead(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
