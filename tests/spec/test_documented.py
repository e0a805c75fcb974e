"""Docstrings of fields are their descriptions in JSON schemas."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from service.spec.documented import Documented


class Part(Documented):
    """A part."""

    size: int
    """In bytes."""


class Whole(Documented):
    """A whole."""

    first: Part
    """What comes first,
    before the others."""
    renamed: int = Field(alias="other-name")
    """Under another name."""
    described: Annotated[int, Field(description="By hand.")]
    """By a docstring."""
    silent: int
    inherited: int
    """As it was."""
    replaced: int
    """As it was, too."""


class Child(Whole):
    """Defines one field again, without a docstring."""

    replaced: int


def descriptions(model: type[Documented]) -> dict[str, Any]:
    fields = model.model_json_schema()["properties"]
    return {name: field.get("description") for name, field in fields.items()}


def test_a_docstring_describes_its_field() -> None:
    assert descriptions(Whole) == {
        "first": "What comes first,\nbefore the others.",
        "other-name": "Under another name.",
        "described": "By hand.",
        "silent": None,
        "inherited": "As it was.",
        "replaced": "As it was, too.",
    }


def test_models_have_the_descriptions_of_fields_that_they_inherit_and_not_of_those_that_they_define_again() -> None:
    assert descriptions(Child) == descriptions(Whole) | {"replaced": None}


def test_models_within_models_are_described() -> None:
    assert Whole.model_json_schema()["$defs"]["Part"]["properties"]["size"]["description"] == "In bytes."


def test_a_class_without_source_has_no_descriptions() -> None:
    names: dict[str, Any] = {"__name__": "nowhere", "Documented": Documented}
    exec("class Made(Documented):\n    size: int\n    'In bytes.'\n", names)  # noqa: S102

    assert descriptions(names["Made"]) == {"size": None}
