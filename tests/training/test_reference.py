"""The engine against a plain PyTorch training loop."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from service.data.preprocess.dataset import Prepared
from tests.specs import REFERENCE
from tests.training.jobs import Observed, job, reports

SEEDS = [0, 1, 2]


class Lesson(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(),
            nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(),
            nn.Linear(32, 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


@dataclass
class History:
    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


def evaluate(model: nn.Module, data: Prepared) -> float:
    model.eval()
    with torch.no_grad():
        return nn.functional.cross_entropy(
            model(torch.tensor(data.validation.x)), torch.tensor(data.validation.y)
        ).item()


def lesson(data: Prepared, seed: int, hold_biases: bool = True, keep_copies: bool = True) -> History:
    """Full batches, Adam, patience 5, as anyone would write it; optionally with the biases before batch norm still."""
    torch.manual_seed(seed)
    model, history, wait = Lesson(), History(), 0
    if hold_biases:
        model.layers[0].bias.requires_grad_(False)
        model.layers[3].bias.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.001)
    x, y = torch.tensor(data.train.x), torch.tensor(data.train.y)
    for _ in range(50):
        model.train()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        history.train.append(loss.item())
        history.validation.append(evaluate(model, data))
        if history.validation[-1] < min(history.validation[:-1], default=float("inf")):
            history.best = copy.deepcopy(model.state_dict()) if keep_copies else model.state_dict()
            wait = 0
        else:
            wait += 1
            if wait >= 5:
                break
    return history


def ours(seed: int) -> list[Observed]:
    return list(reports(**REFERENCE, seed=seed))


def reference_rows(seed: int) -> Prepared:
    return job(**REFERENCE, seed=seed)[1]


@pytest.fixture(autouse=True)
def _undisturbed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_the_biases_before_batch_norm_still_the_histories_are_equal(seed: int) -> None:
    rows = [report.row for report in ours(seed)]

    expected = lesson(reference_rows(seed), seed)

    assert len(rows) == len(expected.train)
    assert [row.train_loss for row in rows] == pytest.approx(expected.train, abs=1e-6)
    assert [row.val_loss for row in rows] == pytest.approx(expected.validation, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_those_biases_free_training_stops_at_the_same_epoch(seed: int) -> None:
    rows = [report.row for report in ours(seed)]

    expected = lesson(reference_rows(seed), seed, hold_biases=False)

    assert len(rows) == len(expected.train)
    assert [row.val_loss for row in rows] == pytest.approx(expected.validation, abs=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_weights_load_into_the_lessons_class_and_give_back_the_recorded_value(seed: int) -> None:
    *before, last = ours(seed)
    model = Lesson()

    model.load_state_dict(last.best_state, strict=True)

    best = [report.row for report in (*before, last) if report.row.is_best][-1]
    assert evaluate(model, reference_rows(seed)) == pytest.approx(best.val_loss, abs=1e-6)


def test_keeping_references_would_restore_the_last_epoch_where_copies_restore_the_best() -> None:
    data = reference_rows(0)
    *_, last = ours(0)
    by_reference, by_copy = Lesson(), Lesson()

    by_reference.load_state_dict(lesson(data, 0, keep_copies=False).best)
    by_copy.load_state_dict(last.best_state)

    assert evaluate(by_reference, data) == pytest.approx(last.row.val_loss, abs=1e-6)
    assert evaluate(by_copy, data) < evaluate(by_reference, data) - 1e-4
