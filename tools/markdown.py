"""Markdown: tables, wrapped paragraphs, and the fields of a JSON schema as a table."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

WIDTH = 100
_LOW = {"minimum": "≥", "exclusiveMinimum": ">"}
_HIGH = {"maximum": "≤", "exclusiveMaximum": "<"}


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; line breaks and bars in cells are made harmless."""
    names = list(header)
    lines = [names, ["---"] * len(names), *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def prose(text: str) -> str:
    """Paragraphs wrapped at 100 characters."""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()))
    return "\n\n".join(textwrap.fill(p, WIDTH, break_long_words=False, break_on_hyphens=False) for p in paragraphs)


def model_tables(model: type[BaseModel]) -> str:
    """The fields of a model, then under a heading each those of the models in it."""
    schema = model.model_json_schema()
    objects = [each for each in schema["$defs"].values() if each.get("properties")]
    parts = [fields_table(schema)]
    for each in objects:
        named = {**each, "$defs": schema["$defs"]}
        parts.append(f"### {each['title']}\n\n{prose(each.get('description', ''))}\n\n{fields_table(named)}")
    return "\n".join(parts)


def fields_table(schema: dict[str, Any], *, linked: bool = True) -> str:
    """The fields of a JSON schema; `linked`: the name of a model in it is a link to its heading."""
    required, definitions = set(schema.get("required", [])), schema.get("$defs", {}) if linked else {}
    rows = (
        (f"`{name}`", _type(field, definitions), _given(field, name in required), field.get("description", ""))
        for name, field in schema["properties"].items()
    )
    return table(("field", "type", "default", "description"), rows)


def _given(field: dict[str, Any], required: bool) -> str:
    if "default" not in field:
        return "required" if required else ""
    default = field["default"]
    return "" if isinstance(default, dict) and default else f"`{_json(default)}`"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        found = definitions.get(name, {})
        return f"[{name}](#{name.lower()})" if found.get("properties") else _type(found, definitions)
    if "const" in field:
        return f"`{_json(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{_json(value)}`" for value in field["enum"])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in field:
            return " or ".join(dict.fromkeys(_type(each, definitions) for each in field[union]))
    if field.get("type") == "array":
        inner = field.get("items", {})
        return f"list of {_type(inner, definitions)}" if inner else "list"
    return str(field.get("type", "object")) + _bounds(field)


def _bounds(field: dict[str, Any]) -> str:
    low = next((f"{sign} {_number(field[key])}" for key, sign in _LOW.items() if key in field), "")
    high = next((f"{sign} {_number(field[key])}" for key, sign in _HIGH.items() if key in field), "")
    both = ", ".join(filter(None, (low, high)))
    return f" ({both})" if both else ""


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) and abs(value) < 10**12 else f"{value:g}"
