"""Optimizers on a matrix of members equal torch.optim for each member."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from service.spec.optimizer import Adam, AdamW, Sgd
from service.training import optimizers, schedules

MEMBERS, COLUMNS, STEPS = 3, 40, 50
RATES, DECAYS = [0.1, 0.003, 0.02], [0.0, 0.1, 0.02]
DECAYED = torch.arange(COLUMNS).lt(30).float().unsqueeze(0)
CASES: list[Any] = [
    pytest.param(Sgd(), torch.optim.SGD, {}, id="sgd"),
    pytest.param(Sgd(momentum=0.9), torch.optim.SGD, {"momentum": 0.9}, id="momentum"),
    pytest.param(Sgd(momentum=0.9, nesterov=True), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, id="nesterov"),
    pytest.param(Adam(), torch.optim.Adam, {}, id="adam"),
    pytest.param(Adam(betas=(0.8, 0.9), eps=1e-3), torch.optim.Adam, {"betas": (0.8, 0.9), "eps": 1e-3}, id="slow"),
    pytest.param(AdamW(), torch.optim.AdamW, {}, id="adamw"),
]


def gradients(step: int) -> Tensor:
    return torch.randn(MEMBERS, COLUMNS, generator=torch.Generator().manual_seed(step))


def by_pytorch(kind: Any, member: int, settings: dict[str, Any], factors: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """The member's values after the steps: two parameters, of which only the first decays; factors: of their rates."""
    start = gradients(1_000)[member]
    weights, biases = start[:30].clone().requires_grad_(), start[30:].clone().requires_grad_()
    groups: list[dict[str, Any]] = [
        {"params": [weights], "weight_decay": DECAYS[member]},
        {"params": [biases], "weight_decay": 0.0},
    ]
    for group, factor in zip(groups, factors, strict=True):
        group["lr"] = RATES[member] * factor
    optimizer = kind(groups, lr=RATES[member], **settings)
    for step in range(STEPS):
        weights.grad, biases.grad = gradients(step)[member].split([30, 10])
        optimizer.step()
    return torch.cat([weights, biases]).detach()


@pytest.mark.parametrize(("settings", "kind", "arguments"), CASES)
def test_each_row_is_updated_as_by_torch_optim(settings: Any, kind: Any, arguments: dict[str, Any]) -> None:
    parameters, lr = gradients(1_000), torch.tensor(RATES).unsqueeze(1)
    members = [settings.model_copy(update={"weight_decay": decay}) for decay in DECAYS]
    optimizer = optimizers.of(members, DECAYED)

    for step in range(STEPS):
        optimizer.advance()
        optimizer.step(parameters, gradients(step), lr)

    for member in range(MEMBERS):
        torch.testing.assert_close(parameters[member], by_pytorch(kind, member, arguments), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("settings", "kind", "arguments"), CASES)
def test_groups_with_rates_of_their_own_are_updated_as_by_torch_optim(
    settings: Any, kind: Any, arguments: dict[str, Any]
) -> None:
    parameters, lr = gradients(1_000), torch.tensor(RATES).unsqueeze(1)
    members = [settings.model_copy(update={"weight_decay": decay}) for decay in DECAYS]
    factors = torch.where(DECAYED > 0, 3.0, 0.1)
    factors[0, -1] = 0.0
    optimizer = optimizers.of(members, DECAYED, factors)

    for step in range(STEPS):
        optimizer.advance()
        optimizer.step(parameters, gradients(step), lr)

    for member in range(MEMBERS):
        expected = by_pytorch(kind, member, arguments, factors=(3.0, 0.1))
        torch.testing.assert_close(parameters[member, :-1], expected[:-1], rtol=1e-5, atol=1e-5)
    assert torch.equal(parameters[:, -1], gradients(1_000)[:, -1])


def test_decoupled_weight_decay_follows_its_own_schedule_and_the_learning_rate() -> None:
    shares = schedules.decay_shares(AdamW(decay_schedule="flat_cos"), 1, STEPS, 1)
    leaf = gradients(1_000)[0].clone().requires_grad_()
    plain = torch.optim.AdamW([leaf], lr=RATES[0], weight_decay=0.1)
    parameters, lr = gradients(1_000)[:1], torch.tensor(RATES[:1]).unsqueeze(1)
    optimizer = optimizers.of([AdamW(weight_decay=0.1)], torch.ones(1, COLUMNS))

    for step, share in enumerate(shares):
        plain.param_groups[0]["weight_decay"] = 0.1 * share
        leaf.grad = gradients(step)[0]
        plain.step()
        optimizer.advance()
        optimizer.step(parameters, gradients(step)[:1], lr, lr * share)

    assert shares[: STEPS // 2] == [1.0] * (STEPS // 2)
    assert shares[-1] == pytest.approx((1 + math.cos(math.pi * (2 * (STEPS - 1) / STEPS - 1))) / 2)
    torch.testing.assert_close(parameters[0], leaf.detach(), rtol=1e-6, atol=1e-6)


def test_the_bias_correction_continues_past_the_precomputed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for ahead in (256, 7):
        monkeypatch.setattr(optimizers, "LOOK_AHEAD", ahead)
        parameters = gradients(1_000)
        adam = optimizers.of([Adam()] * MEMBERS, DECAYED)
        for step in range(20):
            adam.advance()
            adam.step(parameters, gradients(step), torch.full((MEMBERS, 1), 0.01))
        results.append(parameters)

    assert torch.equal(*results)


@pytest.mark.parametrize(
    "members",
    [
        [Sgd(momentum=0.9), Sgd(), Sgd(momentum=0.5, weight_decay=0.1)],
        [Adam(), Adam(betas=(0.8, 0.9), weight_decay=0.1), Adam(eps=1e-3)],
        [AdamW(weight_decay=0.1), AdamW(), AdamW(betas=(0.5, 0.9))],
    ],
    ids=["sgd", "adam", "adamw"],
)
def test_a_members_update_is_bit_identical_in_any_array(members: list[Any]) -> None:
    together, lr = optimizers.of(members, DECAYED), torch.tensor(RATES).unsqueeze(1)
    parameters, rows = gradients(1_000), [0, 1, 2]

    for step in range(STEPS):
        if step == 20:
            rows = [2, 0]
            together.keep(rows)
            parameters = parameters[rows]
        together.advance()
        together.step(parameters, gradients(step)[rows], lr[rows])

    for place, member in enumerate(rows):
        alone, own = optimizers.of([members[member]], DECAYED), gradients(1_000)[[member]]
        for step in range(STEPS):
            alone.advance()
            alone.step(own, gradients(step)[[member]], lr[[member]])
        assert torch.equal(parameters[place], own[0])


def test_gradients_are_clipped_as_pytorch_clips_them_and_short_ones_stay_as_they_are() -> None:
    gradient = gradients(0)
    expected = []
    for member, longest in enumerate([0.5, 1e6]):
        leaf = torch.zeros(COLUMNS, requires_grad=True)
        leaf.grad = gradient[member].clone()
        torch.nn.utils.clip_grad_norm_([leaf], longest)
        expected.append(leaf.grad)
    untouched = gradient[2].clone()

    optimizers.Clipping([Adam(max_grad_norm=0.5), Adam(max_grad_norm=1e6), Adam()], gradient)(gradient)

    torch.testing.assert_close(gradient[:2], torch.stack(expected))
    assert torch.equal(gradient[2], untouched)


def test_a_gradient_without_a_limit_stays_as_it_is_even_where_its_norm_overflows() -> None:
    gradient = torch.tensor([[1e20, 1.0], [3.0, 4.0]])

    optimizers.Clipping([Adam(), Adam(max_grad_norm=1.0)], gradient)(gradient)

    assert gradient[0].tolist() == pytest.approx([1e20, 1.0])
