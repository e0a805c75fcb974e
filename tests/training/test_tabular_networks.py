"""ResNet, TabM and FT-Transformer against plain PyTorch, and their members alone, in company and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from service.data.preprocess.dataset import Prepared
from service.spec.architecture import FtTransformer
from service.spec.layers import InputLayout
from service.spec.lowering import lower
from service.spec.resolve import Resolved
from service.training.array import NetworkArray
from service.training.ensemble import MeanOfHeads
from service.training.loop import ResumePoint, Training
from service.training.losses import CrossEntropy, SquaredError
from service.training.models import build, initial_state
from tests.training.coded_tables import coded, coded_table
from tests.training.jobs import CPU, job, reports
from tests.training.plain_networks import (
    BATCH,
    CASES,
    FEATURES,
    TASKS,
    State,
    averaged_loss,
    fields_of,
    losses_of_rows,
    plain_training,
    tabm_mini,
)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", CASES)
def test_three_epochs_have_the_losses_of_plain_pytorch(name: str, task: str) -> None:
    case = CASES[name]
    fields = fields_of(case, task)
    resolved, data = job(**fields)

    ours = list(reports(**fields))

    expected, weights = plain_training(case, resolved, data.train)
    assert [each.row.train_loss for each in ours] == pytest.approx(expected, abs=1e-5)
    for key, values in weights.items():
        torch.testing.assert_close(ours[-1].last_state[key], values, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["tabm_mini", "tabm_full"])
def test_validation_scores_the_mean_prediction_of_the_heads(name: str, task: str) -> None:
    case = CASES[name]
    data = job(**fields_of(case, task))[1]

    *_, last = reports(**fields_of(case, task))

    x, y = torch.tensor(data.validation.x), torch.tensor(data.validation.y)
    assert last.row.val_loss == pytest.approx(averaged_loss(case.formula(last.last_state, x), y), abs=1e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_plain_pytorch_in_float64(name: str, task: str) -> None:
    case = CASES[name]
    resolved, data = job(**fields_of(case, task))
    states = [initial_state(resolved.graph, seed) for seed in (1, 2)]

    gradients = _gradients(resolved, data, states)

    x, y = torch.tensor(data.train.x[:BATCH]).double(), torch.tensor(data.train.y[:BATCH])
    for member, state in enumerate(states):
        leaves = {key: value.double().requires_grad_() for key, value in state.items() if "tracked" not in key}
        losses_of_rows(case.formula(leaves, x), y.double() if y.is_floating_point() else y).mean().backward()
        for key, found in gradients.items():
            if key in case.without_effect:
                assert not found.any()
                continue
            expected = leaves[key].grad
            assert expected is not None
            torch.testing.assert_close(found[member].double(), expected, atol=1e-6, rtol=1e-5)


def _gradients(resolved: Resolved, data: Prepared, states: list[State]) -> State:
    """The engine's gradients of members with these weights on the first batch."""
    array = NetworkArray([resolved.graph] * len(states), states, CPU)
    x = torch.tensor(data.train.x[:BATCH]).expand(len(states), -1, -1)
    y = torch.tensor(data.train.y[:BATCH]).expand(len(states), -1)
    loss: Any = SquaredError() if y.is_floating_point() else CrossEntropy(array.outputs, [0.0] * len(states), None, CPU)
    if resolved.graph.heads > 1:
        loss = MeanOfHeads(loss, resolved.graph.heads)
    array.backward(loss(array.forward(array.pad(x), training=True), y).gradient)
    return array.named(array.gradient)


def test_the_mean_of_probabilities_is_right_for_logits_far_apart() -> None:
    resolved, _ = job(**fields_of(CASES["tabm_mini"], "classification"))
    state = initial_state(resolved.graph, 0)
    state["layers.5.weight"] *= 3_000.0
    x = torch.randn(9, FEATURES, generator=torch.Generator().manual_seed(1))
    array = NetworkArray([resolved.graph], [state], CPU, trained=False)

    outputs = array.forward(array.pad(x.unsqueeze(0)), training=False)[0, :, : array.outputs].double()

    each = tabm_mini({key: value.double() for key, value in state.items()}, x.double())
    expected = torch.logsumexp(F.log_softmax(each, 2), 1) - torch.log(torch.tensor(5.0))
    assert each.abs().max() > 1_000
    torch.testing.assert_close(outputs, expected, atol=1e-2, rtol=1e-5)


def test_the_tokens_of_codes_are_embeddings_and_code_0_has_the_bias_alone() -> None:
    layout = InputLayout(2, (0, 1), (3, 4), (1, 1))
    network = FtTransformer(width=6, attention_heads=2, attention_dropout=0.0, ffn_dropout=0.0)
    graph = lower(network, layout, 3)
    state = initial_state(graph, 1)
    x, codes = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[2, 0], [0, 3]])
    array = NetworkArray([graph], [state], CPU, trained=False)

    outputs = array.forward(array.pad(x.unsqueeze(0)), training=False, codes=codes.unsqueeze(0))[0, :, :3]

    p = {key.removeprefix("layers.0."): value for key, value in state.items() if key.startswith("layers.0.")}
    numbers = p["bias"][:2] + x.unsqueeze(2) * p["weight"]
    none = torch.zeros(6)
    vectors = torch.stack([torch.stack([p["table"][2], none]), torch.stack([none, p["table"][3 + 3]])])
    tokens = torch.cat([p["cls"].expand(2, 1, -1), numbers, p["bias"][2:] + vectors], 1)
    blocks = build(graph).eval()
    blocks.load_state_dict(state)
    y = tokens
    for layer in blocks.layers[1:]:
        y = layer(y)
    torch.testing.assert_close(outputs, y)


@pytest.mark.parametrize("target", ["class", "y"])
@pytest.mark.parametrize(
    "architecture",
    [
        {"kind": "resnet", "width": 20, "residual_dropout": 0.2, "scaling": True},
        {"kind": "tabm", "hidden": [20, 35], "heads": 5, "periodic": {"frequencies": 5}},
        {"kind": "tabm", "mode": "full", "hidden": [20, 35], "heads": 5},
        {"kind": "ft_transformer", "width": 15, "attention_heads": 3},
    ],
    ids=str,
)
def test_members_with_codes_have_the_same_bits_alone_in_company_and_resumed(
    architecture: dict[str, Any], target: str, tmp_path: Path
) -> None:
    table = coded_table(tmp_path)
    pairs = [
        coded(table, target, architecture=architecture, seed=seed, max_epochs=4, batch_size=13) for seed in range(3)
    ]
    jobs, data = [job for job, _ in pairs], pairs[0][1]

    together = _ends(jobs, data)

    for alone, end in zip(jobs, together, strict=True):
        assert_equal(_ends([alone], data)[0], end)
    training = Training(jobs[1:2], data, CPU)
    rows = [training.epoch()[0].row for _ in range(2)]
    resumed = _ends(jobs[1:2], data, ResumePoint(training.snapshot(0), rows))
    assert_equal(resumed[0], together[1])


def _ends(jobs: list[Resolved], data: Prepared, start: ResumePoint | None = None) -> list[tuple[Any, State]]:
    """The last row but for seconds, and the last weights, of each job."""
    training = Training(jobs, data, CPU, [start] * len(jobs))
    ends: dict[int, tuple[Any, State]] = {}
    for reports_of_epoch in training:
        for report in reports_of_epoch:
            ends[report.member] = report.row.model_dump(exclude={"seconds"}), training.last_state(report.member)
    return [ends[member] for member in range(len(jobs))]


def assert_equal(one: tuple[Any, State], other: tuple[Any, State]) -> None:
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(values, other[1][key]) for key, values in one[1].items())
