"""ResNet, TabM and FT-Transformer against plain PyTorch, written from the papers' formulas without service code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.data.preprocess.dataset import Prepared, Rows
from service.spec.architecture import FtTransformer
from service.spec.layers import InputLayout
from service.spec.lowering import lower
from service.spec.resolve import Resolved
from service.training.array import NetworkArray
from service.training.ensemble import MeanOfHeads
from service.training.epoch import row_order
from service.training.loop import ResumePoint, Training
from service.training.losses import CrossEntropy, SquaredError
from service.training.models import build, initial_state
from tests.training.coded_tables import coded, coded_table
from tests.training.jobs import CPU, job, reports

FEATURES, EPOCHS, BATCH = 7, 3, 16
State = dict[str, Tensor]
Formula = Callable[[State, Tensor], Tensor]
"""Parameters by their keys, and rows (B, features) -> (B, outputs), or (B, heads, outputs) of an ensemble."""


def linear(p: State, layer: int, x: Tensor) -> Tensor:
    return x @ p[f"layers.{layer}.weight"].T + p[f"layers.{layer}.bias"]


def normalized(p: State, layer: int, x: Tensor) -> Tensor:
    """Batch norm of a batch in training (Ioffe and Szegedy, 2015)."""
    mean, variance = x.mean(0), x.var(0, unbiased=False)
    scaled = (x - mean) / (variance + 1e-5).sqrt()
    return scaled * p[f"layers.{layer}.weight"] + p[f"layers.{layer}.bias"]


def resnet(p: State, x: Tensor) -> Tensor:
    """Gorishniy et al. (2021), section 3.2, with two blocks."""
    x = linear(p, 0, x)
    for first in (1, 6):
        x = x + linear(p, first + 3, linear(p, first + 1, normalized(p, first, x)).relu())
    return linear(p, 13, normalized(p, 11, x).relu())


def tabm_mini(p: State, x: Tensor) -> Tensor:
    """Gorishniy et al. (2024), section 3.3: one adapter before the shared network, heads of their own."""
    x = torch.einsum("bf,hf->bhf", x, p["layers.0.weight"])
    x = linear(p, 3, linear(p, 1, x).relu()).relu()
    return torch.einsum("bhf,hcf->bhc", x, p["layers.5.weight"]) + p["layers.5.bias"]


def tabm_full(p: State, x: Tensor) -> Tensor:
    """Gorishniy et al. (2024), section 3.2: each layer is s_i * (W (r_i * x)) + b_i (Wen et al., 2020)."""
    x = torch.einsum("bf,hf->bhf", x, p["layers.0.weight"])
    for layer in (1, 3):
        scaled = x if layer == 1 else x * p["layers.3.scale_in"]
        shared = torch.einsum("bhf,of->bho", scaled, p[f"layers.{layer}.weight"])
        x = (shared * p[f"layers.{layer}.scale_out"] + p[f"layers.{layer}.bias"]).relu()
    return torch.einsum("bhf,hcf->bhc", x, p["layers.5.weight"]) + p["layers.5.bias"]


def layer_norm(p: State, name: str, x: Tensor) -> Tensor:
    """Ba et al. (2016)."""
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def attention(p: State, name: str, x: Tensor, heads: int) -> Tensor:
    """Vaswani et al. (2017), one head after another."""
    query, value = (x @ p[f"{name}.{part}.weight"].T + p[f"{name}.{part}.bias"] for part in ("query", "value"))
    key = x @ p[f"{name}.key.weight"].T
    size = x.shape[2] // heads
    answers = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        scores = torch.einsum("bqd,bkd->bqk", query[..., own], key[..., own]) / size**0.5
        answers.append(torch.einsum("bqk,bkd->bqd", scores.softmax(2), value[..., own]))
    return torch.cat(answers, 2) @ p[f"{name}.out.weight"].T + p[f"{name}.out.bias"]


def ft_transformer(p: State, x: Tensor) -> Tensor:
    """Gorishniy et al. (2021), section 3.3 and appendix E: pre-norm blocks, the first without attention norm, ReGLU."""
    tokens = p["layers.0.bias"] + x.unsqueeze(2) * p["layers.0.weight"]
    tokens = torch.cat([p["layers.0.cls"].expand(len(x), 1, -1), tokens], 1)
    for block in ("layers.1", "layers.2"):
        normed = tokens if block == "layers.1" else layer_norm(p, f"{block}.attention_norm", tokens)
        tokens = tokens + attention(p, block, normed, heads=3)
        hidden = layer_norm(p, f"{block}.ffn_norm", tokens) @ p[f"{block}.ffn_in.weight"].T + p[f"{block}.ffn_in.bias"]
        half = hidden.shape[2] // 2
        hidden = hidden[..., :half] * hidden[..., half:].relu()
        tokens = tokens + hidden @ p[f"{block}.ffn_out.weight"].T + p[f"{block}.ffn_out.bias"]
    return linear(p, 5, layer_norm(p, "layers.3", tokens[:, 0]).relu())


class Case(NamedTuple):
    architecture: dict[str, Any]
    formula: Formula
    without_effect: tuple[str, ...] = ()
    """Biases that a batch norm removes, if after a sum: their gradient is rounding error, which Adam amplifies."""


CASES = {
    "resnet": Case(
        {"kind": "resnet", "width": 20, "blocks": 2, "hidden_factor": 1.7, "dropout": 0.0},
        resnet,
        ("layers.0.bias", "layers.4.bias", "layers.9.bias"),
    ),
    "tabm_mini": Case({"kind": "tabm", "hidden": [20, 35], "heads": 5, "dropout": 0.0}, tabm_mini),
    "tabm_full": Case({"kind": "tabm", "mode": "full", "hidden": [20, 35], "heads": 5, "dropout": 0.0}, tabm_full),
    "ft_transformer": Case(
        {
            "kind": "ft_transformer",
            "width": 24,
            "attention_heads": 3,
            "attention_dropout": 0.0,
            "ffn_dropout": 0.0,
        },
        ft_transformer,
    ),
}
TASKS = ["classification", "regression"]


def fields_of(case: Case, task: str) -> dict[str, Any]:
    x = [[((i * 37 + j * 11) % 101) / 25 - 2 for j in range(FEATURES)] for i in range(80)]
    y = [row[0] * row[1] + abs(row[2]) for row in x]
    if task == "classification":
        y = [int(value > 1) + int(value > 2) for value in y]
    return {
        "data": {"kind": "inline", "x": x, "y": y},
        "task": task,
        "architecture": case.architecture,
        "batch_size": BATCH,
        "max_epochs": EPOCHS,
        "optimizer": {"kind": "adam", "lr": 0.003},
        "seed": 3,
    }


def losses_of_rows(outputs: Tensor, y: Tensor) -> Tensor:
    """The loss of each row, the mean over an ensemble's heads."""
    outputs = outputs if outputs.dim() == 3 else outputs.unsqueeze(1)
    if y.is_floating_point():
        return (outputs[..., 0] - y.unsqueeze(1)).square().mean(1)
    own = y.view(-1, 1, 1).expand(-1, outputs.shape[1], 1)
    return -outputs.log_softmax(2).gather(2, own).squeeze(2).mean(1)


def averaged_loss(outputs: Tensor, y: Tensor) -> float:
    """The loss of the mean prediction of an ensemble's heads."""
    if y.is_floating_point():
        return float((outputs[..., 0].mean(1) - y).square().mean())
    own = outputs.softmax(2).mean(1).gather(1, y.unsqueeze(1))
    return float(-own.log().mean())


def plain_training(case: Case, resolved: Resolved, rows: Rows) -> tuple[list[float], State]:
    """Mean training loss of each epoch, and the last weights: Adam, batches in the service's order of rows."""
    state = initial_state(resolved.graph, resolved.spec.seed)
    trained = {
        key: nn.Parameter(value) for key, value in state.items() if value.is_floating_point() and "running" not in key
    }
    for key in case.without_effect:
        trained[key].requires_grad_(False)
    optimizer = torch.optim.Adam(trained.values(), lr=0.003)
    x, y = torch.tensor(rows.x), torch.tensor(rows.y)
    losses = []
    for epoch in range(1, EPOCHS + 1):
        total = 0.0
        for numbers in row_order(resolved.spec.seed, epoch, len(y)).split(BATCH):
            optimizer.zero_grad()
            each = losses_of_rows(case.formula(trained, x[numbers]), y[numbers])
            each.mean().backward()
            optimizer.step()
            total += float(each.detach().sum())
        losses.append(total / len(y))
    return losses, {key: value.detach() for key, value in trained.items()}


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
