"""The fused optimizer of large networks makes the steps of the other one."""

from __future__ import annotations

import pytest
import torch

from service.spec import optimizer as spec
from service.training.fused_adam import FusedAdam
from service.training.optimizers import Adam


@pytest.mark.parametrize("kind", [spec.Adam, spec.AdamW])
@pytest.mark.parametrize("scheduled", [False, True])
def test_steps_are_those_of_adam_with_each_members_settings(kind: type[spec.Adam], scheduled: bool) -> None:
    torch.manual_seed(0)
    settings = [kind(weight_decay=0.1), kind(betas=(0.5, 0.9), eps=1e-4), kind(weight_decay=0.3)]
    decayed = (torch.arange(96) % 64 < 32).float().repeat_interleave(32).view(1, -1)
    ours, other = (each(settings, decayed, decoupled=kind is spec.AdamW) for each in (FusedAdam, Adam))
    weights = torch.randn(3, decayed.shape[1])
    copy, lr = weights.clone(), torch.tensor([[0.01], [0.1], [0.0]])
    decay = lr * 0.5 if scheduled else None

    for _ in range(4):
        gradient = torch.randn_like(weights)
        for optimizer, own in ((ours, weights), (other, copy)):
            optimizer.advance()
            optimizer.step(own, gradient.clone(), lr, decay)
    ours.keep([2, 0])
    other.keep([2, 0])

    torch.testing.assert_close(weights, copy, rtol=1e-5, atol=1e-6)
    for name, moment in ours.moments().items():
        torch.testing.assert_close(moment, other.moments()[name], rtol=1e-5, atol=1e-6)
    assert ours.steps(1) == other.steps(1) == 4


@pytest.mark.parametrize("kind", [spec.Adam, spec.AdamW])
def test_a_members_bits_do_not_depend_on_the_weight_decay_of_others(kind: type[spec.Adam]) -> None:
    torch.manual_seed(0)
    settings = [kind(weight_decay=0.0), kind(weight_decay=0.3), kind(weight_decay=0.0, betas=(0.5, 0.9))]
    decayed = (torch.arange(96) % 64 < 32).float().repeat_interleave(32).view(1, -1)
    together = FusedAdam(settings, decayed, decoupled=kind is spec.AdamW)
    alone = [FusedAdam([each], decayed, decoupled=kind is spec.AdamW) for each in settings]
    weights = torch.randn(3, decayed.shape[1])
    copies, lr = [row.clone() for row in weights.split(1)], torch.full((3, 1), 0.01)

    for _ in range(4):
        gradient = torch.randn_like(weights)
        for optimizer, rows, own in (
            (together, weights, gradient),
            *zip(alone, copies, gradient.split(1), strict=True),
        ):
            optimizer.advance()
            optimizer.step(rows, own, lr[: len(rows)])

    assert torch.equal(weights, torch.cat(copies))
    assert torch.equal(together.moments()["square"], torch.cat([each.moments()["square"] for each in alone]))
