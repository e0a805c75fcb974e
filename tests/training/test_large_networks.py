"""Large networks train in pieces: bit-identical on any number of threads, alone and in company, and resumed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from torch import nn

from service.data.preprocess.dataset import prepare
from service.spec import layers as spec
from service.spec.resolve import Resolved
from service.training import shards
from service.training.array import NetworkArray
from service.training.fused_adam import LARGE_PARAMETERS
from service.training.models import build, initial_state
from service.training.operators import images, large, large_images
from service.training.snapshot import FIRST_ENGINE, SECOND_ENGINE, fingerprint
from service.training.weights import Layout
from tests.examples import sampled
from tests.specs import synthetic
from tests.training.arrays import assert_same, outcomes
from tests.training.jobs import CPU
from tests.training.test_snapshot import stopped_after


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> shards.ThreadPool:
    """Threads of this test alone; more than the machine has cores are allowed."""
    pool = shards.ThreadPool(lambda: 1)
    monkeypatch.setattr(shards, "_pool", pool)
    return pool


@st.composite
def architectures(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """A large network, and its number of inputs."""
    norm = draw(st.booleans())
    kind = draw(st.sampled_from(["layers", "optimizer", "images"]))
    if kind == "optimizer":  # no layer is large
        widths = [draw(st.integers(100, 200)), draw(st.integers(129, 200))]
        return {"kind": "mlp", "hidden": widths, "batch_norm": norm}, draw(st.integers(1, 400))
    if kind == "layers":
        widths = [draw(st.integers(350, 530)), draw(st.integers(360, 1_100))]
        return {"kind": "mlp", "hidden": widths, "batch_norm": norm}, draw(st.integers(1, 70))
    side = draw(st.integers(12, 29))
    channels = [-(-large.LARGE_VALUES // side**2) + draw(st.integers(0, 3)), draw(st.integers(1, 9))]
    kernel = {"kernel_size": draw(st.sampled_from([1, 3, 5])), "pool": draw(st.sampled_from([1, 2, 3]))}
    shape = [1, side, side] if draw(st.booleans()) else [1, side * side]
    cnn = {"kind": "cnn", "shape": shape, "channels": channels, "batch_norm": norm, **kernel}
    return {**cnn, "hidden": draw(st.sampled_from([[], [33]]))}, side * side


@st.composite
def large_jobs(draw: st.DrawFn) -> list[Resolved]:
    """One to three jobs of one array."""
    architecture, inputs = draw(architectures())
    shared = {
        "architecture": architecture,
        "data": {"kind": "synthetic", "rows": draw(st.integers(30, 70)), "features": inputs},
        "batch_size": draw(st.sampled_from([3, 7, 32, 64, "full"])),
        "precision": draw(st.sampled_from(["float32", "float32", "bfloat16"])),
    }
    kind = draw(st.sampled_from(["adam", "adamw", "sgd"]))
    decay = st.sampled_from([0.0, 0.1])
    return [
        synthetic(**shared, seed=seed, max_epochs=2, optimizer={"kind": kind, "lr": 0.003, "weight_decay": draw(decay)})
        for seed in range(draw(st.integers(1, 3)))
    ]


@pytest.mark.slow
@sampled(4, 12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(large_jobs())
def test_large_networks_are_bit_identical_on_1_2_and_4_threads_and_alone(
    pool: shards.ThreadPool, jobs: list[Resolved]
) -> None:
    found = []
    for threads in (1, 2, 4):
        pool.limit = lambda threads=threads: threads
        found.append(outcomes(jobs))
    pool.limit = lambda: 2
    alone = [outcomes([job])[0] for job in jobs]
    resumed = outcomes(jobs, starts=[stopped_after(jobs[0], 1), *[None] * (len(jobs) - 1)])
    resumed[0] = [*found[0][0][0][:1], *resumed[0][0]], *resumed[0][1:]

    optimizer = jobs[0].spec.optimizer
    assert optimizer.kind == "sgd" or fingerprint(CPU, jobs[0].graph, optimizer)["engine"] == SECOND_ENGINE
    for others in (*found[1:], alone, resumed):
        for one, other in zip(found[0], others, strict=True):
            assert_same(one, other)


def test_a_small_network_has_the_engine_of_its_earlier_states() -> None:
    small = synthetic(architecture={"hidden": [100, 64]})

    assert Layout(small.graph).columns < LARGE_PARAMETERS
    assert fingerprint(CPU, small.graph, small.spec.optimizer)["engine"] == FIRST_ENGINE


def test_a_network_is_small_for_sgd_unless_its_layers_are_large() -> None:
    adam, sgd = (synthetic(architecture={"hidden": [128, 128]}, optimizer={"kind": kind}) for kind in ("adam", "sgd"))

    assert Layout(sgd.graph).columns >= LARGE_PARAMETERS
    assert fingerprint(CPU, adam.graph, adam.spec.optimizer)["engine"] == SECOND_ENGINE
    assert fingerprint(CPU, sgd.graph, sgd.spec.optimizer)["engine"] == FIRST_ENGINE


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("side", [16, 17])
def test_large_pools_are_those_of_pytorch_with_ties_and_without_finite_values(window: int, side: int) -> None:
    layer = spec.Pool((64, side, side), "max", window, window, 0)
    x = torch.randint(-2, 2, (1, 6, 64, side, side)).float()
    x[0, 1, 0, 2, 3], x[0, 2, 1, 0, 0], x[0, 2, 1, 0, 1] = (float(value) for value in ("nan", "inf", "nan"))
    ours, plain = large_images.Pool(layer), images.Pool(layer)
    grad = torch.randn(1, 6, *layer.output_shape)

    assert large.is_large(layer)
    torch.testing.assert_close(ours.forward(x, True), plain.forward(x, True), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(ours.backward(grad), plain.backward(grad), rtol=0, atol=0)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_statistics_of_large_batch_norms_are_those_of_pytorch(offset: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 37, 41, 15, 15) * 3.0 + offset
    layer = spec.BatchNorm((41, 15, 15), eps=1e-5, momentum=0.1)
    found = []
    for kind in (large_images.ChannelNorm, images.ChannelNorm):
        scale, shift = (images.Parameter(torch.full((2, 41), value), torch.zeros(2, 41)) for value in (1.5, 0.5))
        mean, variance = torch.zeros(2, 41), torch.ones(2, 41)
        norm = kind(scale, shift, mean, variance, layer)
        y = norm.forward(x, training=True)
        found.append((y, norm.backward(x - offset), scale.grad, shift.grad, mean, variance))

    assert large.is_large(layer)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        (
            [1, 28, 28],
            [{"kind": "conv2d", "out_channels": 11, "kernel_size": 3}, {"kind": "max_pool", "kernel_size": 2}],
        ),
        (None, [{"kind": "linear", "out_features": 650}, {"kind": "linear", "out_features": 300}]),
    ],
)
def test_a_step_of_a_large_network_is_that_of_plain_pytorch(
    shape: list[int] | None, layers: list[dict[str, Any]]
) -> None:
    job = synthetic(
        data={"kind": "synthetic", "rows": 80, "features": 784},
        architecture={"kind": "layers", "shape": shape, "layers": [*layers, {"kind": "activation"}]},
        batch_size="full",
        max_epochs=1,
        optimizer={"kind": "adamw", "lr": 0.01, "eps": 0.01, "weight_decay": 0.1},
    )

    model, data = build(job.graph), prepare(job.preparation, None)
    model.load_state_dict(initial_state(job.graph, job.spec.seed))
    weights = [value for name, value in model.named_parameters() if value.dim() > 1]
    others = [value for name, value in model.named_parameters() if value.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=0.01, eps=0.01
    )
    loss = nn.CrossEntropyLoss()(model(torch.from_numpy(data.train.x)), torch.from_numpy(data.train.y))
    loss.backward()
    optimizer.step()

    ((rows, _, last),) = outcomes([job])

    assert rows[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(last[name], value, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("architecture", "inputs"),
    [({"hidden": [700, 400]}, 33), ({"kind": "cnn", "shape": [1, 17, 17], "channels": [33, 7]}, 289)],
)
@pytest.mark.parametrize("rows", [1, 32, 256])
def test_a_row_has_the_same_outputs_wherever_it_is_in_a_step(
    architecture: dict[str, Any], inputs: int, rows: int
) -> None:
    job = synthetic(architecture=architecture, data={"kind": "synthetic", "rows": 60, "features": inputs})
    array = NetworkArray([job.graph], [initial_state(job.graph, 1)], CPU, trained=False)
    x, order = torch.randn(rows, inputs), torch.randperm(rows)

    outputs, permuted = (array.forward(array.pad(each).unsqueeze(0), training=False) for each in (x, x[order]))

    assert torch.equal(outputs[0, order], permuted[0])
