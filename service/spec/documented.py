"""Models whose fields are described by the docstrings below them.

Pydantic has a setting for it, `use_attribute_docstrings`, which reads the source of each class when it is defined: a
quarter of the processor time of `import bestepoch`. Here it is read when a schema is asked for.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Documented(BaseModel):
    """A model whose JSON schema has the docstrings of its fields as their descriptions."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        properties = handler.resolve_ref_schema(found).get("properties", {})
        texts = _texts_of(cls)
        for name, info in cls.model_fields.items():
            if name in texts and info.description is None:
                for key in {name, info.alias, info.validation_alias, info.serialization_alias} & properties.keys():
                    properties[key]["description"] = texts[name]
        return found


def _texts_of(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field that has one; a field that is defined again has that of the last definition."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__[: model.__mro__.index(Documented)]):
        for name in inspect.get_annotations(base):
            texts.pop(name, None)
        texts |= _texts_in(base.__module__).get(base.__qualname__, {})
    return texts


@cache
def _texts_in(module: str) -> dict[str, dict[str, str]]:
    """The docstrings of the attributes of each class of a module, by its qualified name; none without its source."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):
        return {}
    found: dict[str, dict[str, str]] = {}
    _collect(ast.parse(source), "", found)
    return found


def _collect(scope: Any, prefix: str, found: dict[str, dict[str, str]]) -> None:
    """Add the classes in the body of `scope`."""
    for each in scope.body:
        if isinstance(each, ast.ClassDef):
            found[prefix + each.name] = _texts_below(each.body)
            _collect(each, f"{prefix}{each.name}.", found)


def _texts_below(body: list[ast.stmt]) -> dict[str, str]:
    """The strings that follow annotated names."""
    texts = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                texts[field.target.id] = inspect.cleandoc(text.value)
    return texts
