"""The Python client against a real service, directly and through a proxy that drops connections."""

from __future__ import annotations

import re
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import duckdb
import httpx2
import numpy as np
import pytest
import torch

from bestepoch import ApiError, Client
from service.client.uploads import DECISION, history_frame
from service.domain.status import Status

PENGUINS = Path("examples/penguins.csv")
SMALL = {"data": {"kind": "synthetic"}, "max_epochs": 5}


class DroppingProxy:
    """A TCP proxy; the responses of its first `dropped` connections never arrive."""

    def __init__(self, port: int, dropped: int) -> None:
        self._upstream, self.dropped, self.used = port, dropped, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.used += 1
                threading.Thread(target=self._serve, args=(client, self.used <= self.dropped), daemon=True).start()

    def _serve(self, client: socket.socket, drop: bool) -> None:
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as server:
            there = threading.Thread(target=self._pass, args=(client, server, False))
            there.start()
            self._pass(server, client, drop)
            there.join()

    def _pass(self, source: socket.socket, target: socket.socket, drop: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if drop:
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def test_upload_train_follow_and_download(client: Client, tmp_path: Path) -> None:
    seen = list[int]()

    job = client.train(PENGUINS, target="species", max_epochs=30, early_stopping={"patience": 5}, seed=3)
    job.wait(each=lambda epoch: seen.append(epoch.epoch))

    assert job.state.status is Status.succeeded
    assert seen == [epoch.epoch for epoch in job.history()] == list(range(1, job.state.progress.epoch + 1))
    assert job.state.best is not None
    model = job.best_model()
    assert not model.training
    inputs = next(model.parameters()).shape[1]
    assert model(torch.zeros(2, inputs)).shape == (2, 3)
    saved = job.download(tmp_path)
    assert saved.name == f"{job.id}-best.safetensors"
    bundle = job.download(tmp_path, format="bundle")
    assert bundle.name == f"{job.id}-best.zip"
    assert "load.py" in ZipFile(bundle).namelist()
    (answer,) = job.predict([{"bill_length_mm": 39.1, "bill_depth_mm": 18.7, "island": "Torgersen", "sex": "male"}])
    assert answer["prediction"] == "Adelie"
    assert job.id in repr(job)


def test_the_readmes_python_example_runs(service: httpx2.Client, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}

    exec(code.replace("http://127.0.0.1:8000", str(service.base_url)), names)  # noqa: S102

    output = capsys.readouterr().out
    assert "'prediction': 'Adelie'" in output
    assert names["model"].name == "penguins"
    assert isinstance(names["network"], torch.nn.Module)


def test_arrays_and_bytes_can_be_uploaded(client: Client) -> None:
    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2

    job = client.train((x, y), max_epochs=2).wait(60)

    assert job.state.status is Status.succeeded
    tiny = client.upload(b"a,b\n1,2\n3,4\n", name="tiny")
    assert tiny.name == "tiny"
    assert tiny in client.datasets(columns=True)
    (summary,) = [summary for summary in client.datasets() if summary.id == tiny.id]
    assert summary.column_count == 2
    trained_on = job.state.spec.data.id  # type: ignore[union-attr]
    (arrays,) = [summary for summary in client.datasets() if summary.id == trained_on]
    assert client.train(arrays, target="y", max_epochs=1).state.spec.data == job.state.spec.data
    assert [column.name for column in client.upload(x).columns] == ["x0", "x1", "x2"]
    with pytest.raises(TypeError, match="target="):
        client.train(x)
    with pytest.raises(FileNotFoundError):
        client.upload("nowhere.csv")


def test_a_history_is_the_same_as_a_list_a_frame_and_a_parquet_file(
    service: httpx2.Client, client: Client, tmp_path: Path
) -> None:
    job = client.train(PENGUINS, target="species", max_epochs=7, early_stopping=None).wait(60)

    frame = job.history(as_frame=True)

    rows = [{**row.measured(), **row.model_dump(exclude={"metrics", "non_finite"})} for row in job.history()]
    assert [{name: value for name, value in row.items() if value == value} for row in frame.to_dict("records")] == [
        {name: value for name, value in row.items() if value is not None} for row in rows
    ]
    assert (len(rows), rows[0]["closeness"], frame["closeness"].dtype) == (7, None, "float64")
    assert (frame["epoch"].dtype, frame["is_best"].dtype, frame["wait"].dtype) == ("int64", "bool", "int64")
    headers = {"Accept": "application/vnd.apache.parquet"}
    (tmp_path / "history").write_bytes(service.get(f"/v1/jobs/{job.id}/history", headers=headers).content)
    table = duckdb.read_parquet(str(tmp_path / "history"))
    assert table.columns == list(frame.columns)
    assert [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()] == rows


def test_kept_predictions_are_the_same_as_a_list_and_a_frame(client: Client) -> None:
    job = client.train(PENGUINS, target="species", split={"test": 0.1}, max_epochs=3, early_stopping=None).wait(60)

    rows, frame = job.predictions(), job.predictions("test", as_frame=True)

    assert [row["part"] for row in rows] == ["validation"] * 69 + ["test"] * 34
    tested = rows[69:]
    assert frame["row"].tolist() == [row["row"] for row in tested]
    assert frame["probability of Gentoo"].tolist() == [row["probabilities"]["Gentoo"] for row in tested]
    assert job.state.test is not None
    assert (frame["truth"] == frame["prediction"]).mean() == pytest.approx(job.state.test.metrics["accuracy"])


def test_a_history_without_epochs_is_an_empty_frame_of_the_same_types() -> None:
    frame = history_frame([])

    assert (len(frame), frame["epoch"].dtype, frame["lr"].dtype) == (0, "int64", "float64")
    assert list(frame.columns) == ["epoch", "train_loss", "val_loss", "lr", "seconds", *DECISION]


def test_without_pandas_a_history_frame_says_what_to_install(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    job = client.submit(SMALL)
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match=r"needs pandas: pip install 'bestepoch\[pandas\]'"):
        job.history(as_frame=True)


def test_jobs_are_paused_resumed_cancelled_listed_forked_and_deleted(client: Client) -> None:
    job = client.submit({**SMALL, "max_epochs": 1_000_000, "early_stopping": None, "labels": {"of": "client"}})
    for _ in job.follow():
        break
    job.pause()
    job.resume()
    job.cancel()
    job.wait(60)

    assert job.state.status is Status.cancelled
    fork = job.fork(max_epochs=job.state.progress.epoch + 2, early_stopping=None).wait(60)
    assert fork.state.progress.epoch == job.state.progress.epoch + 2
    assert [each.id for each in client.jobs(labels={"of": "client"})] == [fork.id, job.id]
    fork.delete()
    with pytest.raises(ApiError) as raised:
        fork.refresh()
    assert (raised.value.status, raised.value.code) == (404, "not_found")
    fork.delete()  # once more: its answer might have been lost
    assert client.usage()["tenant"] == "default"
    assert client.plan(SMALL)["parameters"] > 1_000


def test_a_rejected_request_is_an_api_error_with_a_pointer(client: Client) -> None:
    with pytest.raises(ApiError, match="batch_size should be a whole number") as raised:
        client.submit({**SMALL, "batch_size": "many"})

    assert raised.value.errors[0]["pointer"] == "/batch_size"
    assert raised.value.request_id


def test_lost_responses_are_retried_without_duplicates(service: httpx2.Client, client: Client) -> None:
    proxy = DroppingProxy(int(service.base_url.port or 0), dropped=2)
    before = len(list(client.jobs()))
    with Client(proxy.url) as behind:
        job = behind.submit({**SMALL, "seed": 77})
        data = behind.upload(PENGUINS)
    proxy.close()

    assert proxy.used >= 3
    assert data.rows == 344
    everything = [each.id for each in client.jobs()]
    assert len(everything) == before + 1
    assert everything[0] == job.id


def test_a_broken_stream_resumes_where_it_was(service: httpx2.Client) -> None:
    with Client(str(service.base_url)) as direct:
        job = direct.submit({**SMALL, "max_epochs": 200, "early_stopping": None})
        proxy = DroppingProxy(int(service.base_url.port or 0), dropped=0)
        with Client(proxy.url) as client:
            followed = client.job(job.id)
            proxy.dropped = proxy.used + 2
            client._transport.http.close()
            client._transport.http = httpx2.Client(base_url=proxy.url)
            epochs = [epoch.epoch for epoch in followed.follow()]
        proxy.close()

    assert epochs == list(range(1, 201))
    assert proxy.used >= 3


def test_a_report_is_an_object_or_a_document_and_compares_with_boosted_trees(client: Client) -> None:
    job = client.train(client.upload(PENGUINS), "sex", split={"test": 0.25}, max_epochs=3)
    job.wait()

    report = job.report()

    assert report.evaluated.part == "test"
    assert report.baselines is not None
    assert [model.name for model in report.baselines.models] == ["constant", "linear", "boosted_trees"]
    assert report.missing == []
    costly = job.report(costs={"false_negative": 5.0}).classification
    assert costly is not None
    assert costly.thresholds is not None
    assert costly.thresholds.best[-1].metric == "cost"
    assert job.report("html").startswith("<!doctype html>")
    assert job.report("markdown").startswith("# Classification of sex")
