"""The layer list: shapes and parameter counts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.spec.architecture import Activation, Mlp
from service.spec.layers import Activate, BatchNorm, Dropout, InputLayout, Linear
from service.spec.lowering import lower

widths = st.integers(1, 300)
mlps = st.builds(
    Mlp,
    hidden=st.lists(widths, max_size=6),
    batch_norm=st.booleans(),
    activation=st.sampled_from(Activation),
    dropout=st.sampled_from([0.0, 0.5]),
)


def test_the_default_network_is_the_reference_one() -> None:
    assert lower(Mlp(), InputLayout(20), 2).layers == (
        Linear((20,), 64), BatchNorm((64,)), Activate((64,), Activation.relu),
        Linear((64,), 32), BatchNorm((32,)), Activate((32,), Activation.relu),
        Linear((32,), 2),
    )  # fmt: skip


def test_dropout_stands_after_each_activation_and_only_if_asked_for() -> None:
    layers = lower(Mlp(hidden=[8, 4], batch_norm=False, dropout=0.25), InputLayout(3), 1).layers

    assert [layer.kind for layer in layers] == ["linear", "activation", "dropout"] * 2 + ["linear"]
    assert layers[2] == Dropout((8,), 0.25)
    assert "dropout" not in [layer.kind for layer in lower(Mlp(dropout=0.0), InputLayout(3), 1).layers]


def test_no_hidden_layer_is_a_linear_model() -> None:
    assert lower(Mlp(hidden=[]), InputLayout(5), 3).layers == (Linear((5,), 3),)


@given(mlps, widths, widths)
def test_each_layer_takes_what_the_one_before_gives(architecture: Mlp, inputs: int, outputs: int) -> None:
    layers = lower(architecture, InputLayout(inputs), outputs).layers

    assert layers[0].inputs == inputs
    assert layers[-1].outputs == outputs
    assert all(before.outputs == after.inputs for before, after in pairwise(layers))


@given(mlps, widths, widths)
def test_parameters_are_weights_biases_scales_and_shifts(architecture: Mlp, inputs: int, outputs: int) -> None:
    sizes = [inputs, *architecture.hidden, outputs]
    expected = sum((before + 1) * after for before, after in pairwise(sizes))
    expected += 2 * sum(architecture.hidden) if architecture.batch_norm else 0

    assert lower(architecture, InputLayout(inputs), outputs).parameters == expected


def test_batch_norms_have_the_momentum_and_eps_of_the_spec() -> None:
    layers = lower(Mlp(hidden=[8], batch_norm_momentum=0.5, batch_norm_eps=1e-3), InputLayout(3), 1).layers

    assert layers[1] == BatchNorm((8,), eps=1e-3, momentum=0.5)
