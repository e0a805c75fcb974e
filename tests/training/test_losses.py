"""Losses and gradients equal PyTorch's, for each member."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.engine_constants import padded
from service.spec.job import JobSpec
from service.spec.loss import AbsoluteError, Huber, Poisson, QuantileLoss
from service.training import losses
from service.training.losses import CrossEntropy, Focal, SquaredError, balanced

CPU = torch.device("cpu")
ROWS, MEMBERS, CLASSES = 23, 3, 4


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("smoothing", [[0.0, 0.0, 0.0], [0.2, 0.0, 0.1]], ids=["none", "each its own"])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 3.0, 0.1])], ids=["plain", "weighted"])
def test_cross_entropy_and_its_gradient_are_those_of_pytorch(smoothing: list[float], weight: Tensor | None) -> None:
    logits = drawn(MEMBERS, ROWS, CLASSES)
    y = torch.randint(0, CLASSES, (MEMBERS, ROWS), generator=torch.Generator().manual_seed(0))

    batch = CrossEntropy(CLASSES, smoothing, weight, CPU)(F.pad(logits, (0, padded(CLASSES) - CLASSES)), y)

    means = batch.rows.sum(1) / batch.weight
    assert not batch.gradient[..., CLASSES:].any()
    for member in range(MEMBERS):
        leaf = logits[member].clone().requires_grad_()
        expected = nn.CrossEntropyLoss(weight, label_smoothing=smoothing[member])(leaf, y[member])
        expected.backward()
        torch.testing.assert_close(means[member], expected.detach())
        torch.testing.assert_close(batch.gradient[member, :, :CLASSES], leaf.grad)


def test_the_squared_error_and_its_gradient_are_those_of_pytorch() -> None:
    outputs, y = F.pad(drawn(MEMBERS, ROWS, 1), (0, padded(1) - 1)), drawn(ROWS, MEMBERS).T

    batch = SquaredError()(outputs, y)

    assert not batch.gradient[..., 1:].any()
    for member in range(MEMBERS):
        leaf = outputs[member, :, 0].clone().requires_grad_()
        expected = nn.MSELoss()(leaf, y[member])
        expected.backward()
        torch.testing.assert_close(batch.rows[member].sum() / batch.weight, expected.detach())
        torch.testing.assert_close(batch.gradient[member, :, 0], leaf.grad)


@pytest.mark.parametrize("classes_weigh", [None, torch.tensor([0.5, 1.0, 3.0, 0.1])], ids=["plain", "weighted"])
def test_a_rows_weight_multiplies_its_cross_entropy(classes_weigh: Tensor | None) -> None:
    logits, weight = drawn(MEMBERS, ROWS, CLASSES), drawn(MEMBERS, ROWS).abs()
    y = torch.randint(0, CLASSES, (MEMBERS, ROWS), generator=torch.Generator().manual_seed(0))
    outputs = F.pad(logits, (0, padded(CLASSES) - CLASSES))

    batch = CrossEntropy(CLASSES, [0.1] * MEMBERS, classes_weigh, CPU)(outputs, y, weight)

    for member in range(MEMBERS):
        leaf = logits[member].clone().requires_grad_()
        each = F.cross_entropy(leaf, y[member], classes_weigh, reduction="none", label_smoothing=0.1)
        total = ROWS if classes_weigh is None else classes_weigh[y[member]].sum()
        expected = (each * weight[member]).sum() / total
        expected.backward()
        torch.testing.assert_close((batch.rows.sum(1) / batch.weight)[member], expected.detach())
        torch.testing.assert_close(batch.gradient[member, :, :CLASSES], leaf.grad)


def test_a_rows_weight_multiplies_its_squared_error() -> None:
    outputs, y = F.pad(drawn(1, ROWS, 1), (0, padded(1) - 1)), drawn(ROWS, 1).T
    weight = drawn(1, ROWS).abs()

    batch = SquaredError()(outputs, y, weight)

    leaf = outputs[0, :, 0].clone().requires_grad_()
    expected = (weight[0] * (leaf - y[0]).square()).mean()
    expected.backward()
    torch.testing.assert_close(batch.rows.sum() / batch.weight, expected.detach())
    torch.testing.assert_close(batch.gradient[0, :, 0], leaf.grad)


@pytest.mark.parametrize("gammas", [[0.0, 0.0, 0.0], [0.5, 2.0, 5.0]], ids=["none", "each its own"])
@pytest.mark.parametrize("classes_weigh", [None, torch.tensor([0.5, 1.0, 3.0, 0.1])], ids=["plain", "weighted"])
@pytest.mark.parametrize("rows_weigh", [False, True])
def test_the_focal_loss_and_its_gradient_are_those_of_its_formula(
    gammas: list[float], classes_weigh: Tensor | None, rows_weigh: bool
) -> None:
    logits, weight = drawn(MEMBERS, ROWS, CLASSES), drawn(MEMBERS, ROWS).abs() if rows_weigh else None
    logits[:, 0] = torch.tensor([40.0, -40.0, 0.0, 0.0])  # a probability that rounds to 1, and one close to 0
    y = torch.randint(0, CLASSES, (MEMBERS, ROWS), generator=torch.Generator().manual_seed(0))
    y[:2, 0] = torch.tensor([0, 1])
    outputs = F.pad(logits, (0, padded(CLASSES) - CLASSES))
    each = None if classes_weigh is None else classes_weigh.expand(MEMBERS, -1)

    batch = Focal(CLASSES, gammas, each, CPU)(outputs, y, weight)

    assert not batch.gradient[..., CLASSES:].any()
    for member in range(MEMBERS):
        leaf = logits[member].double().requires_grad_()
        log_p = leaf.log_softmax(1).gather(1, y[member].unsqueeze(1)).squeeze(1)
        costs = -((-torch.expm1(log_p)) ** gammas[member]) * log_p
        own = torch.ones(ROWS) if classes_weigh is None else classes_weigh[y[member]]
        expected = (costs * own * (1.0 if weight is None else weight[member])).sum() / own.sum()
        expected.backward()
        torch.testing.assert_close((batch.rows.sum(1) / batch.weight)[member], expected.detach().float())
        assert leaf.grad is not None
        # Where the probability rounds to 1, autograd multiplies 0 by infinity.
        torch.testing.assert_close(batch.gradient[member, :, :CLASSES], leaf.grad.float().nan_to_num())


OF_ONE_NUMBER: list[Any] = [
    pytest.param([AbsoluteError()] * 3, lambda f, y, _: F.l1_loss(f, y, reduction="none"), id="absolute"),
    pytest.param(
        [Huber(delta=0.5), Huber(), Huber(delta=3.0)],
        lambda f, y, settings: F.huber_loss(f, y, reduction="none", delta=settings.delta),
        id="huber",
    ),
    pytest.param(
        [QuantileLoss(q=0.1), QuantileLoss(), QuantileLoss(q=0.9)],
        lambda f, y, settings: torch.maximum(settings.q * (y - f), (settings.q - 1) * (y - f)),
        id="quantile",
    ),
    pytest.param(
        [Poisson()] * 3,
        lambda f, y, _: F.poisson_nll_loss(f, y, reduction="none") + torch.special.xlogy(y, y) - y,
        id="poisson",
    ),
]


@pytest.mark.parametrize(("settings", "formula"), OF_ONE_NUMBER)
@pytest.mark.parametrize("rows_weigh", [False, True])
def test_a_loss_of_one_number_and_its_gradient_are_those_of_pytorch(
    settings: list[Any], formula: Any, rows_weigh: bool
) -> None:
    outputs, y = F.pad(drawn(MEMBERS, ROWS, 1), (0, padded(1) - 1)), drawn(ROWS, MEMBERS).T.abs()
    y[:, :4], weight = 0.0, drawn(MEMBERS, ROWS).abs() if rows_weigh else None
    specs = [
        JobSpec.model_validate({"data": {"kind": "synthetic"}, "task": "regression", "loss": each}) for each in settings
    ]

    batch = losses.of(specs, [y[0]] * MEMBERS, 1)(outputs.clone(), y, weight)

    assert not batch.gradient[..., 1:].any()
    measured = losses.mean_losses(specs, outputs[..., :1].double(), y[0])
    for member in range(MEMBERS):
        leaf = outputs[member, :, 0].double().requires_grad_()
        costs = formula(leaf, y[member].double(), settings[member])
        expected = (costs if weight is None else costs * weight[member]).mean()
        expected.backward()
        torch.testing.assert_close(batch.rows[member].sum() / batch.weight, expected.detach().float())
        assert leaf.grad is not None
        torch.testing.assert_close(batch.gradient[member, :, 0], leaf.grad.float())
        plain = formula(outputs[member, :, 0].double(), y[0].double(), settings[member]).mean().item()
        assert measured[member] == pytest.approx(plain, rel=1e-9)


def test_the_poisson_loss_of_large_counts_is_exact() -> None:
    y = torch.full((1, 1), 1e6)
    specs = [JobSpec.model_validate({"data": {"kind": "synthetic"}, "task": "regression", "loss": {"kind": "poisson"}})]
    outputs = F.pad((y.double() * 1.001).log().float().unsqueeze(2), (0, 31))

    batch = losses.of(specs, [y[0]], 1)(outputs, y)

    assert batch.rows.item() == pytest.approx(1e6 * (0.001 - math.log(1.001)), rel=0.02)


def test_balanced_weights_give_every_class_the_same_total() -> None:
    y = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])

    weight = balanced(y, classes=4)

    assert weight.tolist() == pytest.approx([0.5, 1.0, 1.0, 1.0])
    assert (weight * torch.bincount(y, minlength=4)).tolist() == pytest.approx([2.0, 2.0, 2.0, 0.0])
