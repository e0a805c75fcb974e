"""Translates pydantic's errors of a request into JSON pointers or parameter names, and plain messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.api.http.suggestions import suggestion_for, unknown
from service.errors import json_pointer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_ERRORS = 20

_MESSAGES = {
    "missing": "is required",
    "union_tag_not_found": "is required",
    "model_type": "should be a JSON object",
    "model_attributes_type": "should be a JSON object",
    "dict_type": "should be a JSON object",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "string_type": "should be text",
    "int_parsing": "should be a whole number",
    "float_parsing": "should be a number",
    "finite_number": "should be a finite number",
    "string_unicode": "should be text, but holds half of a surrogate pair",
}
_REPHRASED = (
    ("Value error, ", ""),
    ("Input ", ""),
    ("String ", ""),
    ("List ", ""),
    ("Tuple ", ""),
    ("Dictionary ", ""),
)


def validation_errors(
    found: Iterable[dict[str, Any]], body: Any, *, dotted_names: bool = False
) -> list[dict[str, str]]:
    """At most 20 errors: `{"pointer": ..., "message": ...}` or `{"parameter": ..., "message": ...}`.

    `found`: pydantic's errors; `body`: the request's JSON, needed to tell its fields from pydantic's own tags.
    `dotted_names`: suggest fields by their path from the root, e.g. `optimizer.lr`, as changes of a spec name them.
    """
    messages: dict[tuple[str, str], list[str]] = {}
    for error in found:
        part, *location = error["loc"]
        place = ("pointer", _pointer(location, body, error)) if part == "body" else ("parameter", str(location[0]))
        message = _message(error, _prefix(place[1]) if dotted_names else "")
        if message not in messages.setdefault(place, []):
            messages[place].append(message)
        if len(messages) > MAX_ERRORS:
            break
    return [{kind: where, "message": _joined(said)} for (kind, where), said in list(messages.items())[:MAX_ERRORS]]


def with_suggestions(found: Iterable[Any], model: Any) -> Iterator[dict[str, Any]]:
    """pydantic's errors of the type `model`, those of unknown fields with a suggestion."""
    for error in found:
        if error["type"] == "extra_forbidden":
            error = {**error, "ctx": {"suggestion": suggestion_for(model, error["loc"])}}
        yield error


def _pointer(location: Sequence[str | int], body: Any, error: dict[str, Any]) -> str:
    """The JSON pointer of `location`, without the parts that are not in the body, mostly tags of union members."""
    parts: list[str | int] = []
    for index, part in enumerate(location):
        if _leads_on(location[index:], body, error):
            body = body[part]
        elif error["type"] != "missing" or index < len(location) - 1:
            continue
        parts.append(part)
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        parts.append(error["ctx"]["discriminator"].removesuffix("()").strip("'"))
    return json_pointer(*parts)


def _leads_on(location: Sequence[str | int], body: Any, error: dict[str, Any]) -> bool:
    """Whether `location` begins with a place in `body`, not with a union member that has the name of a field."""
    part, *rest = location
    if not isinstance(body, dict):
        return isinstance(body, list) and part in range(len(body))
    missing = error["type"] == "missing" and len(rest) == 1 and isinstance(rest[0], str)
    next_is_beside = rest and (rest[0] in body or missing)
    return part in body and (isinstance(body[part], dict) or not next_is_beside)


def _prefix(pointer: str) -> str:
    """`/optimizer/rate` -> `optimizer.`."""
    return pointer.lstrip("/").rpartition("/")[0].replace("/", ".") + "." if pointer.count("/") > 1 else ""


def _message(error: dict[str, Any], prefix_of_suggestion: str) -> str:
    if error["type"] == "extra_forbidden":
        suggestion = error.get("ctx", {}).get("suggestion")
        return unknown("field", suggestion and prefix_of_suggestion + suggestion)
    if error["type"] == "union_tag_invalid":
        return f"should be one of {error['ctx']['expected_tags']}"
    message = str(_MESSAGES.get(error["type"], error["msg"])).replace(" after validation", "")
    for prefix, instead in _REPHRASED:
        if message.startswith(prefix):
            return instead + message.removeprefix(prefix)
    return message


def _joined(messages: list[str]) -> str:
    """Merge the messages of the members of a union: "should be a number or text"."""
    if len(messages) > 1 and all(message.startswith("should be ") for message in messages):
        return "should be " + " or ".join(message.removeprefix("should be ") for message in messages)
    return "; or ".join(messages)
