"""The array equals K plain networks: values, gradients, and each member's bits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from service.spec.architecture import Activation, Mlp
from service.spec.graph import Graph
from service.spec.layers import InputLayout
from service.spec.lowering import lower
from service.spec.optimizer import Adam
from service.training import optimizers
from service.training.array import NetworkArray
from service.training.losses import CrossEntropy
from service.training.models import build, initial_state
from service.training.modules import Network
from service.training.operators.flat import Dropout

CPU = torch.device("cpu")
ROWS, CLASSES, INPUTS = 37, 3, 5
SHAPES = [
    pytest.param(Mlp(hidden=[7, 20], activation=activation, batch_norm=norm), id=f"{activation}-{norm}")
    for activation in Activation
    for norm in (True, False)
] + [pytest.param(Mlp(hidden=[7, 20], batch_norm_momentum=0.5, batch_norm_eps=1e-8), id="norm-of-its-own")]


def array_of(graph: Graph, *seeds: int) -> NetworkArray:
    return NetworkArray([graph] * len(seeds), [initial_state(graph, seed) for seed in seeds], CPU)


def network_of(graph: Graph, state: dict[str, Tensor]) -> Network:
    network = build(graph)
    network.load_state_dict(state, strict=True)
    return network


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def labels(*shape: int) -> Tensor:
    return torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", SHAPES)
def test_values_and_gradients_are_those_of_plain_networks(architecture: Mlp) -> None:
    graph = lower(architecture, InputLayout(INPUTS), CLASSES)
    array, x, y = array_of(graph, 0, 1, 2), drawn(3, ROWS, INPUTS), labels(3, ROWS)

    before = [array.state(member) for member in range(3)]
    outputs = array.forward(array.pad(x), training=True)
    array.backward(CrossEntropy(CLASSES, [0.0] * 3, None, CPU)(outputs.clone(), y).gradient)
    array.parameters.sub_(array.gradient)

    for member in range(3):
        network = network_of(graph, before[member]).train()
        expected = network(x[member])
        F.cross_entropy(expected, y[member]).backward()
        torch.testing.assert_close(outputs[member, :, :CLASSES], expected, atol=1e-6, rtol=1e-6)
        after = array.state(member)
        for key, parameter in network.named_parameters():
            torch.testing.assert_close(before[member][key] - after[key], parameter.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("architecture", SHAPES)
def test_evaluation_gives_what_the_loaded_plain_network_gives(architecture: Mlp) -> None:
    graph = lower(architecture, InputLayout(INPUTS), CLASSES)
    array, x = array_of(graph, 0, 1), drawn(ROWS, INPUTS)
    array.forward(array.pad(drawn(2, ROWS, INPUTS)), training=True)  # moves the running statistics

    outputs = array.forward(array.pad(x).expand(2, -1, -1), training=False)

    for member in range(2):
        network = network_of(graph, array.state(member)).eval()
        torch.testing.assert_close(outputs[member, :, :CLASSES], network(x), atol=1e-6, rtol=1e-6)


def trained(graph: Graph, seeds: list[int], weight: Tensor | None = None) -> tuple[NetworkArray, Tensor, Tensor]:
    """(array, each step's losses (S, K, B), outputs after training (K, N, C)); rows and masks follow each seed."""
    array, loss = array_of(graph, *seeds), CrossEntropy(CLASSES, [0.1] * len(seeds), weight, CPU)
    adam = optimizers.of([Adam(weight_decay=0.01)] * len(seeds), array.decayed)
    x, y, lr = array.pad(drawn(ROWS, INPUTS)), labels(ROWS), torch.full((len(seeds), 1), 0.01)
    array.draw_dropout_from([torch.Generator().manual_seed(seed) for seed in seeds])
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    losses = []
    for _ in range(8):
        rows = torch.stack([torch.randperm(ROWS, generator=generator) for generator in generators])
        batch = loss(array.forward(x[rows], training=True), y[rows])
        array.backward(batch.gradient)
        adam.advance()
        adam.step(array.parameters, array.gradient, lr)
        losses.append(batch.rows)
    return array, torch.stack(losses), array.forward(x.expand(len(seeds), -1, -1), training=False)


@pytest.mark.parametrize("weight", [None, torch.tensor([0.3, 1.7, 2.9])], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    "architecture",
    [*SHAPES, Mlp(hidden=[]), Mlp(hidden=[64, 32], dropout=0.3), Mlp(hidden=[100, 50, 10], activation=Activation.gelu)],
)
def test_members_are_bit_identical_to_networks_trained_alone(architecture: Mlp, weight: Tensor | None) -> None:
    graph = lower(architecture, InputLayout(INPUTS), CLASSES)

    together, losses, outputs = trained(graph, [0, 1, 2], weight)

    for member in range(3):
        alone, own_losses, own_outputs = trained(graph, [member], weight)
        assert torch.equal(losses[:, member], own_losses[:, 0])
        assert torch.equal(outputs[member], own_outputs[0])
        state = alone.state(0)
        assert all(torch.equal(values, state[key]) for key, values in together.state(member).items())


@pytest.mark.parametrize("architecture", SHAPES)
def test_padding_stays_zero(architecture: Mlp) -> None:
    graph = lower(architecture, InputLayout(INPUTS), CLASSES)

    array, _, _ = trained(graph, [0, 1])

    assert torch.equal(array.parameters, NetworkArray([graph] * 2, [array.state(0), array.state(1)], CPU).parameters)


def test_biases_before_a_batch_norm_keep_their_first_value_and_others_move() -> None:
    graph = lower(Mlp(hidden=[7]), InputLayout(INPUTS), CLASSES)
    first = initial_state(graph, 0)

    state = trained(graph, [0])[0].state(0)

    moved = {key for key in first if key.endswith("bias") and not torch.equal(first[key], state[key])}
    assert moved == {"layers.1.bias", "layers.3.bias"}


def test_a_state_dict_round_trips_as_a_copy() -> None:
    graph = lower(Mlp(hidden=[7]), InputLayout(INPUTS), CLASSES)
    state = trained(graph, [0])[0].state(0)

    array = NetworkArray([graph] * 2, [state, initial_state(graph, 1)], CPU)
    back = array.state(0)
    array.parameters.zero_()

    assert back.keys() == build(graph).state_dict().keys()
    assert all(torch.equal(back[key], state[key]) and back[key].is_contiguous() for key in state)
    assert back["layers.1.num_batches_tracked"] == 8


def test_the_best_weights_are_a_copy_with_their_running_statistics() -> None:
    graph = lower(Mlp(hidden=[7]), InputLayout(INPUTS), CLASSES)
    array = array_of(graph, 0, 1)
    first = array.state(0)
    array.forward(array.pad(drawn(2, ROWS, INPUTS)), training=True)
    array.parameters.mul_(2.0)
    kept = array.state(1)

    array.keep_best([1])
    array.forward(array.pad(drawn(2, ROWS, INPUTS)), training=True)
    array.parameters.mul_(2.0)

    assert all(torch.equal(value, kept[key]) for key, value in array.best_state(1).items())
    assert all(torch.equal(value, first[key]) for key, value in array.best_state(0).items())


def test_dropout_keeps_the_asked_share_scales_it_and_hides_it_from_the_gradient() -> None:
    dropout, x = Dropout([0.25]), torch.ones(1, 4_000, 32)
    dropout.generators = [torch.Generator().manual_seed(0)]

    y = dropout.forward(x, training=True)

    assert y.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(dropout.backward(x), y)
    assert torch.equal(dropout.forward(x, training=False), x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_values_and_gradients_but_for_rounding() -> None:
    graph = lower(Mlp(hidden=[7, 20], dropout=0.0), InputLayout(INPUTS), CLASSES)
    results = []
    for device in (CPU, torch.device("cuda")):
        array = NetworkArray([graph] * 2, [initial_state(graph, seed) for seed in (0, 1)], device)
        x, y = array.pad(drawn(2, ROWS, INPUTS).to(device)), labels(2, ROWS).to(device)
        array.backward(CrossEntropy(CLASSES, [0.1, 0.1], None, device)(array.forward(x, training=True), y).gradient)
        results.append(array.gradient.cpu())

    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-4)
