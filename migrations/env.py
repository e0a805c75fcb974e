"""Alembic environment: runs migrations on the connection that `service.store.engine.migrate` passes."""

from typing import Any, Literal

from alembic import context

from service.store.schema import Utc, metadata


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Render custom types as SQLAlchemy's own: migrations must not import the service."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, Utc) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_item=render_item,
    transactional_ddl=True,
)
context.run_migrations()
