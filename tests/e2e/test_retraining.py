"""Answers by retraining, with the Python client and the command line, against a real service."""

from __future__ import annotations

import json
from pathlib import Path

from bestepoch import Client
from service.domain.sweep import SweepStatus
from tests.e2e.conftest import Run

PENGUINS = Path("examples/penguins.csv")
FAST = {"max_epochs": 15, "optimizer": {"lr": 0.01}, "split": {"test": 0.25}, "seed": 3}


def test_a_job_is_retrained_and_its_report_has_the_answers(client: Client, run: Run) -> None:
    job = client.train(client.upload(PENGUINS), "species", **FAST).wait(60)
    first = job.report()
    assert first.importance is not None

    plan = job.retraining()
    sweep = client.sweep_of(job.retrain().id).wait(120)
    report = job.report(retrain=True)

    assert plan.columns[0] == first.importance.columns[0].columns[0]
    assert (plan.jobs, plan.left_out) == (15 + 3 * len(plan.columns), [])
    assert sweep.state.status is SweepStatus.finished
    assert (sweep.state.retrains, sweep.state.jobs) == (job.id, plan.jobs)
    section = report.retraining
    assert section is not None
    assert (section.jobs, section.without_result) == (plan.jobs, 0)
    curve = section.learning_curve
    assert [point.fraction for point in curve] == [0.1, 0.2, 0.4, 0.7, 1.0]
    assert curve[-1].rows == first.evaluated.training
    assert curve[0].mean > curve[-1].mean
    assert {each.column for each in section.columns} == set(plan.columns)
    # The network on all rows with the job's own seed is the job again, bit for bit, though others train beside it.
    assert job.state.test is not None
    assert curve[-1].draws[0] == job.state.test.metrics["log_loss"]
    assert job.report() == first
    printed = run("report", job.id, "--retrain")
    assert printed.exit_code == 0, printed.output
    assert "## Answers by retraining" in printed.stdout
    assert f"Sweep {sweep.id} retrains this job already." in printed.stderr


def test_the_command_says_what_it_costs_and_waits(client: Client, run: Run) -> None:
    job = client.train(client.upload(PENGUINS), "species", **{**FAST, "max_epochs": 2}).wait(60)

    printed = run("report", job.id, "--retrain", "--json")

    assert printed.exit_code == 0, printed.output
    assert "networks in" in printed.stderr
    assert "(an estimate)" in printed.stderr
    assert len(json.loads(printed.stdout)["retraining"]["learning_curve"]) == 5


def test_a_model_is_not_retrained(run: Run) -> None:
    refused = run("report", "birds@champion", "--retrain")

    assert refused.exit_code == 2
    assert "only jobs can be retrained" in refused.stderr
