"""Pagination: the `limit` and `after` query parameters, and a page of a list with the cursor of the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]


def cursor(prefix: str) -> Any:
    """The `after` parameter of a list whose ids have this prefix; any other value is a 422, not an empty page."""
    said = "The `next` of the page before this one."
    return Query(max_length=100, pattern=rf"^{prefix}_[0-9a-z]{{1,40}}$", description=said)


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    # Not docstrings of the attributes: pydantic would search all of the stack for the source of each `Page[...]`.
    object: Annotated[Literal["list"], Field(description="What this JSON object is.")] = "list"
    data: Annotated[list[T], Field(description="The items.")]
    has_more: Annotated[bool, Field(description="Whether there are more after these.")] = False
    next: Annotated[str | None, Field(description="Send it as `after` for the next page; null on the last one.")] = None


def page_of(items: Sequence[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """A page of at most `limit` items; `items` holds one more than that if there is a next page."""
    data = list(items[:limit])
    more = len(items) > limit
    return Page(data=data, has_more=more, next=cursor(data[-1]) if more else None)


def offset_page(items: Sequence[T], limit: int, offset: int) -> Page[T]:
    """The same for lists paged by offset: `next` is the number of items before the next page."""
    more = len(items) > limit
    return Page(data=list(items[:limit]), has_more=more, next=str(offset + limit) if more else None)
