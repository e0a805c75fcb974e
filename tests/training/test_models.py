"""The torch module of a layer list and its initial weights equal plain PyTorch."""

from __future__ import annotations

import torch
from torch import nn

from service.spec.architecture import Activation, Mlp
from service.spec.layers import InputLayout
from service.spec.lowering import lower
from service.training.models import ACTIVATIONS, build, initial_state

LAYERS = lower(Mlp(hidden=[8, 4]), InputLayout(5), 3)


def plain(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)
    )


def test_the_initial_weights_are_those_of_plain_pytorch_with_the_same_seed() -> None:
    state = initial_state(LAYERS, seed=7)

    expected = {f"layers.{key}": value for key, value in plain(seed=7).state_dict().items()}
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_initial_weights_do_not_change_the_global_generator() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)

    torch.manual_seed(1)
    initial_state(LAYERS, seed=7)

    assert torch.equal(torch.rand(3), expected)


def test_the_module_has_as_many_parameters_as_the_layer_list_says() -> None:
    assert sum(parameter.numel() for parameter in build(LAYERS).parameters()) == LAYERS.parameters


def test_every_activation_and_dropout_has_a_module() -> None:
    assert set(ACTIVATIONS) == set(Activation)
    assert isinstance(build(lower(Mlp(hidden=[2], dropout=0.25), InputLayout(2), 2)).layers[3], nn.Dropout)
