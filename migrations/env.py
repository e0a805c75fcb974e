"""Runs the migrations on the connection that `service.store.engine.migrate` hands over."""

from typing import Any, Literal

from alembic import context

from service.store.schema import Utc, metadata


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our own types as the plain ones that they are in the database: migrations import nothing of ours."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, Utc) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_item=render_item,
    transactional_ddl=True,
)
context.run_migrations()
