"""ResNet, TabM and FT-Transformer in plain PyTorch, written from the papers' formulas without service code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from service.data.preprocess.dataset import Rows
from service.spec.resolve import Resolved
from service.training.generators import row_order
from service.training.models import initial_state

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
