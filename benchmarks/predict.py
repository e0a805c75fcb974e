"""Single rows over HTTP, compared with a bare FastAPI route that calls onnxruntime on the same model, and MLflow.

    python -m benchmarks.predict [python of an environment with mlflow, onnx and onnxruntime]

All serve the penguins' network. The bare route is a `def` endpoint of uvicorn with h11, one process as the API is one;
MLflow's is `mlflow models serve` with the same ONNX file, whose answers are those of onnxruntime. A client of another
process keeps 1, 8 and 64 connections busy, one server after the other in each round; ratios are medians of the rounds'
ratios. First the answers that come after nothing: the first of a new service, and the first after an idle minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from examples.local_service import running_service
from service.settings import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLIENTS = 1, 8, 64
SECONDS = 3.0
ROUNDS = 5
IDLE_SECONDS = 60.0
PENGUINS = Path("examples/penguins.csv")
ROW = {
    "island": "Biscoe",
    "bill_length_mm": 46.1,
    "bill_depth_mm": 13.2,
    "flipper_length_mm": 211,
    "body_mass_g": 4500,
    "sex": "female",
    "year": 2007,
}


def main() -> None:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client = stack.enter_context(running_service(home / "service"))
        job = trained(client)
        (home / "model.onnx").write_bytes(client.get(f"{job}/checkpoints/best/download?format=onnx").content)
        port = int(str(client.base_url).rstrip("/").rpartition(":")[2])
        body = json.dumps({"rows": [ROW]}).encode()
        servers = {
            "bestepoch": (port, f"{job}/predict", body),
            "bare route": (stack.enter_context(bare_route(home / "model.onnx")), "/predict", body),
        }
        if sys.argv[1:]:
            mlflow = stack.enter_context(mlflow_server(sys.argv[1], home))
            servers["MLflow"] = mlflow, "/invocations", json.dumps({"inputs": inputs_of(ROW, list)}).encode()
        print(f"bestepoch, first answer of the service: {first_answer(servers['bestepoch']):.1f} ms")
        for server in servers.values():
            ask_once(*server)
        time.sleep(IDLE_SECONDS)
        print(f"bestepoch, first answer after {IDLE_SECONDS:.0f} s: {first_answer(servers['bestepoch']):.1f} ms")
        for clients in CLIENTS:
            measure(servers, clients)


def measure(servers: dict[str, tuple[int, str, bytes]], clients: int) -> None:
    """Print rates and times of every server with so many clients."""
    found: dict[str, list[list[float]]] = {name: [] for name in servers}
    for _ in range(ROUNDS):
        for name, server in servers.items():
            found[name].append(asyncio.run(busy(*server, clients)))
    base = [len(times) for times in found["bare route"]]
    for name, rounds in found.items():
        rates = [len(times) / SECONDS for times in rounds]
        ratio = median(len(times) / each for times, each in zip(rounds, base, strict=True))
        every = sorted(time for times in rounds for time in times)
        print(
            f"{clients} clients, {name}: {median(rates):,.0f} a second, {ratio:.2f} x the bare route; "
            f"p50 {1e3 * median(every):.2f} ms, p99 {1e3 * every[int(len(every) * 0.99)]:.2f} ms"
        )


async def busy(port: int, path: str, body: bytes, clients: int) -> list[float]:
    """Seconds of each answer to clients that ask again at once, for SECONDS."""
    request = request_of(port, path, body)
    until = time.perf_counter() + SECONDS
    times: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < until:
            writer.write(request)
            await answer_of(reader)
            times.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return times


def first_answer(server: tuple[int, str, bytes]) -> float:
    """Milliseconds from opening a connection to the answer."""
    began = time.perf_counter()
    ask_once(*server)
    return 1e3 * (time.perf_counter() - began)


def ask_once(port: int, path: str, body: bytes) -> bytes:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_of(port, path, body))
        answer = await answer_of(reader)
        writer.close()
        return answer

    return asyncio.run(ask())


def request_of(port: int, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 2"), head
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return await reader.readexactly(int(length.split(b":")[1]))


def trained(client: httpx2.Client) -> str:
    """The path of a job that has trained on the penguins."""
    dataset = client.post("/v1/datasets", content=PENGUINS.read_bytes()).raise_for_status().json()["id"]
    spec = {"data": {"kind": "dataset", "id": dataset, "target": "species"}, "max_epochs": 50}
    job = client.post("/v1/jobs", json=spec).raise_for_status().json()["id"]
    ended = client.get(f"/v1/jobs/{job}", params={"wait": 60}).raise_for_status().json()
    assert ended["status"] == "succeeded", ended
    return f"/v1/jobs/{job}"


@contextmanager
def process(command: Sequence[str], port: int, **environment: str) -> Iterator[int]:
    """A server in a process group of its own, once it accepts connections; yields the port."""
    running = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                httpx2.get(f"http://127.0.0.1:{port}/")
                break
            except httpx2.TransportError:
                assert running.poll() is None, command
                time.sleep(0.1)
        yield port
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait()


def bare_route(model: Path) -> Any:
    port = free_port("127.0.0.1")
    return process([sys.executable, "-m", "benchmarks.predict", "bare", str(model), str(port)], port)


def mlflow_server(python: str, home: Path) -> Any:
    port = free_port("127.0.0.1")
    folder, tools = home / "mlflow", Path(python).parent
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db", "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    save = f"import mlflow.onnx, onnx; mlflow.onnx.save_model(onnx.load({str(home / 'model.onnx')!r}), {str(folder)!r})"
    subprocess.run([python, "-c", save], check=True, env={**os.environ, **store})
    options = ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    return process([python, "-m", "mlflow", "models", "serve", "-m", str(folder), *options], port, **store)


def inputs_of(row: dict[str, Any], array: Any) -> dict[str, Any]:
    """The inputs of the ONNX file: (1, 1) each."""
    return {name: array([[value if isinstance(value, str) else float(value)]]) for name, value in row.items()}


class Rows(BaseModel):
    rows: list[dict[str, float | str]]


def serve_bare(model: str, port: int) -> None:
    """The least that a prediction could be."""
    app = FastAPI()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    names = [each.name for each in session.get_inputs()]
    types = [object if each.type == "tensor(string)" else np.float64 for each in session.get_inputs()]

    @app.post("/predict")
    def predict(asked: Rows) -> dict[str, Any]:
        columns = {
            name: np.array([[row[name]] for row in asked.rows], dtype=kind)
            for name, kind in zip(names, types, strict=True)
        }
        prediction, probabilities = session.run(["prediction", "probabilities"], columns)
        return {"prediction": prediction.tolist(), "probabilities": probabilities.tolist()}

    uvicorn.run(app, port=port, http="h11", log_level="error")


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        serve_bare(sys.argv[2], int(sys.argv[3]))
    else:
        main()
