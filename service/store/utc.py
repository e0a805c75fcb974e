"""The column type of times: aware, in UTC, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import DateTime, TypeDecorator, func, literal

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Dialect


class Utc(TypeDecorator[datetime]):
    """An aware UTC time; SQLite stores it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To an aware UTC time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def ago(connection: Connection, age: timedelta = timedelta()) -> ColumnElement[datetime]:
    """A time in the past, by the database server's clock: the machines' clocks may differ."""
    if connection.dialect.name == "postgresql":
        return func.now() - age
    return literal(datetime.now(UTC) - age, Utc)
