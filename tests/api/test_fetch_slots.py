"""Slow servers of connections hold the slots for fetching, and none of those for reading files."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack

import httpx2
import pytest
from fastapi import FastAPI

from service.artifacts import Artifacts
from service.domain.connection import ConnectionKind
from service.store.engine import Database
from tests.api.conftest import serving
from tests.api.references import CSV, declare, lake
from tests.api.test_expensive_work import ask, connections, held_slot
from tests.processes import until

__all__ = ["lake"]

pytestmark = pytest.mark.e2e


def reference(connection: str, path: str) -> bytes:
    return json.dumps({"connection": connection, "path": path}).encode()


def test_uploads_do_not_wait_for_servers_that_do_not_answer(app: FastAPI, database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, serving(app) as (_, url):  # accepts, and never answers
        place = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        declare(database, "slow", place, ConnectionKind.https, allow_private=True)
        with connections(url) as clients:
            clients += [ask(url, "POST", "/v1/datasets", reference("slow", f"{i}.csv")) for i in range(2)]
            silent.settimeout(60)
            answering = [silent.accept()[0] for _ in clients]

            assert httpx2.post(f"{url}/v1/datasets", content=CSV, timeout=60).status_code == 201
        for each in answering:
            each.close()


@pytest.mark.usefixtures("lake")
def test_what_was_fetched_is_read_in_a_slot_for_reading_files(app: FastAPI, artifacts: Artifacts) -> None:
    limiters = app.state.shared

    with serving(app) as (_, url):
        with ExitStack() as stack, connections(url) as clients:
            for _ in range(limiters.ingest_slots._slots.per_tenant):
                stack.enter_context(held_slot(limiters.ingest_slots, "default"))
            clients.append(ask(url, "POST", "/v1/datasets", reference("lake", "2026/a.csv")))
            until(lambda: limiters.ingest_slots.waiting == 1)
            for _ in range(limiters.fetch_slots._slots.per_tenant):  # it holds no slot for fetching any more
                stack.enter_context(held_slot(limiters.fetch_slots, "default"))

        until(lambda: limiters.ingest_slots.waiting == 0)  # the client has hung up
        until(lambda: artifacts.unfinished() == [])
        assert httpx2.get(f"{url}/v1/datasets").json()["data"] == []
