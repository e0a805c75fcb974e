"""The README's three calls and what is around them, by the generated client: run by the generator's own Python.

Arguments: the service's address, a key, a table, and where to put the best checkpoint. Prints what it has seen as JSON.
"""

import json
import sys
from pathlib import Path

import httpx
from bestepoch_client import AuthenticatedClient
from bestepoch_client.api.checkpoints import download_checkpoint
from bestepoch_client.api.datasets import create_dataset, download_dataset
from bestepoch_client.api.jobs import create_job, get_job
from bestepoch_client.api.predictions import predict
from bestepoch_client.api.progress import get_history
from bestepoch_client.models import (
    Dataset,
    DatasetData,
    DownloadCheckpointKind,
    DownloadFormat,
    History,
    Job,
    JobSpec,
    Mlp,
    Monitor,
    Patience,
    Predictions,
    PredictRequest,
    PredictRequestRowsItem,
    Problem,
    Status,
)
from bestepoch_client.types import File

ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


def main(url: str, key: str, table: str, target: str) -> None:
    client = AuthenticatedClient(base_url=url, token=key, timeout=httpx.Timeout(70), raise_on_unexpected_status=True)
    with Path(table).open("rb") as file:
        dataset = create_dataset.sync(client=client, body=File(payload=file), name="penguins")
    assert isinstance(dataset, Dataset), dataset

    spec = JobSpec(
        data=DatasetData(id=dataset.id, target="species", kind="dataset"),
        architecture=Mlp(hidden=[16], kind="mlp"),
        early_stopping=Patience(patience=5, monitor=Monitor.VAL_ACCURACY, rule="patience"),
        max_epochs=30,
    )
    job = create_job.sync(client=client, body=spec)
    while isinstance(job, Job) and job.status not in ENDED:
        job = get_job.sync(job.id, client=client, wait=60)
    assert isinstance(job, Job), job

    best = download_checkpoint.sync(job.id, DownloadCheckpointKind.BEST, client=client)
    assert isinstance(best, File), best
    Path(target).write_bytes(best.payload.read())

    history = get_history.sync(job.id, client=client)
    assert isinstance(history, History), history
    bird = PredictRequestRowsItem.from_dict({"bill_length_mm": 39.1, "island": "Torgersen", "sex": None})
    answers = predict.sync(job.id, client=client, body=PredictRequest(rows=[bird]))
    assert isinstance(answers, Predictions), answers
    stored = download_dataset.sync(dataset.id, client=client, format_=DownloadFormat.CSV)
    refused = create_job.sync(client=client, body=JobSpec(data=spec.data, batch_size=0))
    assert isinstance(refused, Problem), refused
    seen = {
        "job": job.to_dict(),
        "epochs": [epoch.to_dict() for epoch in history.data],
        "table": stored,
        "prediction": answers.predictions[0].prediction,
        "refused": refused.to_dict(),
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
