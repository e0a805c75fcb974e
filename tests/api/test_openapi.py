"""The OpenAPI document is complete, and the docs page needs no internet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.http.openapi import SPEC_EXAMPLES


@pytest.fixture
def document(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_every_operation_is_described_and_has_a_short_name(document: Any) -> None:
    found = dict(operations(document))
    names = [operation["operationId"] for operation in found.values()]

    assert len(found) > 20
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z_]{4,25}", name) for name in names)
    for operation in found.values():
        assert operation["summary"]
        assert len(operation["description"]) > 10
        assert operation["tags"][0] in {tag["name"] for tag in document["tags"]}
        assert all(parameter["description"] for parameter in operation.get("parameters", []))


def test_every_operation_documents_its_errors(document: Any) -> None:
    for name, operation in operations(document):
        failures = {status: said for status, said in operation["responses"].items() if status >= "400"}
        assert {"422", "500"} <= set(failures), name
        assert ("404" in failures) == ("{" in name), name
        for said in failures.values():
            assert list(said["content"]) == ["application/problem+json"]
            assert said["description"]


@pytest.mark.parametrize("name", ["create_dataset", "download_checkpoint", "download_dataset", "predict"])
def test_responses_written_to_disk_document_a_507(document: Any, name: str) -> None:
    [operation] = [said for _, said in operations(document) if said["operationId"] == name]

    assert "507" in operation["responses"]


def test_every_field_of_every_schema_is_described(document: Any) -> None:
    schemas = document["components"]["schemas"]
    undescribed = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, said in schema.get("properties", {}).items()
        if "description" not in {**schemas.get(said.get("$ref", "").split("/")[-1], {}), **said}
    ]

    assert undescribed == []
    assert "HTTPValidationError" not in schemas


def schemas_in(part: Any) -> Iterator[dict[str, Any]]:
    """Every object within a part of the document."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from schemas_in(inner)


def test_bounds_are_those_of_json_schema(client: TestClient, document: Any) -> None:
    fields = document["components"]["schemas"]["JobSpec"]["properties"]

    for said in (document, client.get("/v1/architectures").json()):
        assert not [schema for schema in schemas_in(said) if {"ge", "gt", "le", "lt"} & schema.keys()]
    assert (fields["max_epochs"]["minimum"], fields["max_epochs"]["maximum"]) == (1, 1_000_000)
    assert fields["batch_size"]["anyOf"] == [
        {"type": "integer", "minimum": 1, "maximum": 10_000_000},
        {"type": "string", "enum": ["full"]},
    ]


def test_unions_are_supported_by_client_generators(document: Any) -> None:
    unions = [schema for schema in schemas_in(document["components"]) if {"anyOf", "oneOf"} & schema.keys()]
    members = [member for union in unions for member in union.get("anyOf", union.get("oneOf"))]

    assert not [union for union in unions if isinstance(union.get("default"), dict)]
    assert not [member for member in members if "const" in member]
    architecture = document["components"]["schemas"]["JobSpec"]["properties"]["architecture"]
    assert "Left out, it is `{" in architecture["description"]
    assert '"hidden": [64, 32]' in architecture["description"]


@pytest.mark.parametrize("name", ["reference", "inline"])
def test_the_examples_can_be_trained(client: TestClient, name: str) -> None:
    response = client.post("/v1/jobs/plan", json=SPEC_EXAMPLES[name]["value"])

    assert response.status_code == 200, response.text


def test_the_penguins_example_lacks_only_its_data_set(client: TestClient) -> None:
    response = client.post("/v1/jobs/plan", json=SPEC_EXAMPLES["penguins"]["value"])

    assert [error["pointer"] for error in response.json()["errors"]] == ["/data/id"]


def test_the_documentation_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) == 3
    for path in loaded:
        assert path.startswith("/static-offline-docs/")
        assert client.get(path).status_code == 200
    assert "://" not in page


def test_documented_routes_are_the_served_ones(app: FastAPI, document: Any) -> None:
    assert document["info"]["title"] == app.title == "bestepoch"
    assert document["info"]["version"] == app.version
