"""Data sets read again from their connections: versions."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from tests.api.conftest import both_databases
from tests.api.references import CSV, MORE, ask, lake

__all__ = ["lake"]


@both_databases
def test_a_refresh_is_the_next_version_of_the_same_name(client: TestClient, lake: Path) -> None:
    first = ask(client, path="2026/*.csv", name="shoes").json()
    unchanged = client.post(f"/v1/datasets/{first['id']}/refresh")

    (lake / "2026/d.csv").write_text("size,color\n6,green\n")
    second = client.post(f"/v1/datasets/{first['id']}/refresh")
    (lake / "2026/d.csv").write_text("size,color\n7,green\n")
    third = client.post(f"/v1/datasets/{first['id']}/refresh").json()

    assert (unchanged.status_code, unchanged.json()) == (200, first)
    assert (second.status_code, second.headers["location"]) == (201, f"/v1/datasets/{second.json()['id']}")
    assert (second.json()["name"], second.json()["version"], second.json()["rows"]) == ("shoes", 2, 6)
    assert second.json()["provenance"]["refreshed_from"] == first["id"]
    assert (third["version"], third["rows"]) == (3, 6)
    assert client.get(f"/v1/datasets/{first['id']}").json() == first
    listed = client.get("/v1/datasets").json()["data"]
    assert [(each["version"], each["connection"]) for each in listed] == [(3, "lake"), (2, "lake"), (1, "lake")]


def test_a_refresh_to_earlier_bytes_is_the_earlier_version(client: TestClient, lake: Path) -> None:
    first = ask(client, path="2026/a.csv").json()
    (lake / "2026/a.csv").write_text(MORE)
    second = client.post(f"/v1/datasets/{first['id']}/refresh").json()
    (lake / "2026/a.csv").write_text(CSV)

    again = client.post(f"/v1/datasets/{second['id']}/refresh")

    assert (again.status_code, again.json()) == (200, first)


def test_versions_go_on_when_the_first_is_deleted(client: TestClient, lake: Path) -> None:
    first = ask(client, path="2026/a.csv").json()
    (lake / "2026/a.csv").write_text(MORE)
    second = client.post(f"/v1/datasets/{first['id']}/refresh").json()
    assert client.delete(f"/v1/datasets/{first['id']}").status_code == 204
    (lake / "2026/a.csv").write_text("a\n1\n2\n")

    assert client.post(f"/v1/datasets/{second['id']}/refresh").json()["version"] == 3


def test_an_upload_and_a_missing_data_set_cannot_be_refreshed(client: TestClient) -> None:
    uploaded = client.post("/v1/datasets", content=CSV.encode()).json()

    refused = client.post(f"/v1/datasets/{uploaded['id']}/refresh")
    missing = client.post("/v1/datasets/ds_0/refresh")

    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert missing.status_code == 404
