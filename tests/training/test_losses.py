"""Losses and gradients equal PyTorch's, for each member."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.engine_constants import padded
from service.training.losses import CrossEntropy, SquaredError, balanced

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


def test_balanced_weights_give_every_class_the_same_total() -> None:
    y = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])

    weight = balanced(y, classes=4)

    assert weight.tolist() == pytest.approx([0.5, 1.0, 1.0, 1.0])
    assert (weight * torch.bincount(y, minlength=4)).tolist() == pytest.approx([2.0, 2.0, 2.0, 0.0])
