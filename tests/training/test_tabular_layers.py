"""Embeddings of codes, periodic embeddings and scaling: gradients, initial values, and bits alone and in company."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from service.spec.architecture import Architecture
from service.spec.graph import Graph
from service.spec.layers import InputLayout
from service.spec.lowering import lower
from service.training import row_sets
from service.training.array import NetworkArray
from service.training.epoch import ArrayTrainer
from service.training.loop import ResumePoint, Training
from service.training.models import build, initial_state
from service.training.operators import FAST
from service.training.row_order import FullOrders
from service.training.row_sets import MemberRows, batch_sizes, stages
from tests.data.tables import Stored
from tests.training.arrays import Outcome, assert_same
from tests.training.coded_tables import coded, coded_table
from tests.training.jobs import CPU, observe

CODES = st.lists(st.tuples(st.integers(2, 9), st.integers(1, 11)), max_size=4)


@st.composite
def layouts(draw: st.DrawFn) -> InputLayout:
    """Rows of a few numbers, of which some are scaled columns, and a few codes."""
    codes = draw(CODES)
    numbers = draw(st.integers(0 if codes else 1, 40))
    scaled = tuple(place for place in range(numbers) if draw(st.booleans()))
    return InputLayout(numbers, scaled, tuple(n for n, _ in codes), tuple(size for _, size in codes))


@st.composite
def networks(draw: st.DrawFn, layout: InputLayout) -> dict[str, Any]:
    """An MLP with tabular layers, or the same layers in other places."""
    periodic = {"frequencies": draw(st.integers(1, 20)), "sigma": draw(st.sampled_from([0.1, 1.0]))}
    if draw(st.booleans()) or not layout.scaled:
        options = {"scaling": draw(st.booleans()), "periodic": draw(st.none() | st.just(periodic))}
        return {"hidden": draw(st.lists(st.integers(1, 40), max_size=2)), "batch_norm": draw(st.booleans()), **options}
    layers: list[dict[str, Any]] = [{"kind": "scaling"}] * draw(st.integers(0, 2)) + [{"kind": "periodic", **periodic}]
    layers += [{"kind": "linear", "out_features": draw(st.integers(1, 40)), "name": "a"}]
    if layout.categories:
        layers += [{"kind": "embedding", "inputs": ["codes"], "name": "e"}]
        layers += [{"kind": "scaling", "name": "s"}] if (scaled := draw(st.booleans())) else []
        layers += [{"kind": "concat", "inputs": ["a", "s" if scaled else "e"]}]
    return {"kind": "layers", "layers": layers}


def graph_of(architecture: dict[str, Any], layout: InputLayout, outputs: int = 3) -> Graph:
    return lower(TypeAdapter(Architecture).validate_python(architecture), layout, outputs)


def batch(layout: InputLayout, members: int, rows: int) -> tuple[Tensor, Tensor | None]:
    """(K, B, numbers) and (K, B, coded columns), with codes of 0 among them."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(members, rows, layout.numbers, generator=generator)
    codes = [torch.randint(n, (members, rows), generator=generator) for n in layout.categories]
    return x, torch.stack(codes, 2) if codes else None


def gradients(graph: Graph, states: list[dict[str, Tensor]], x: Tensor, codes: Tensor | None) -> tuple[Any, ...]:
    """Outputs and gradients of the array for a loss of the sum of squares / 2."""
    array = NetworkArray([graph] * len(states), states, CPU)
    with torch.inference_mode():
        outputs = array.forward(array.pad(x), training=True, codes=codes)
        array.backward(outputs.clone())
    return outputs[..., : graph.outputs], array.named(array.gradient)


@settings(max_examples=60)
@given(st.data())
def test_outputs_and_gradients_equal_those_of_the_module_by_autograd(data: st.DataObject) -> None:
    layout = data.draw(layouts())
    graph = graph_of(data.draw(networks(layout)), layout)
    states = [initial_state(graph, seed) for seed in range(2)]
    x, codes = batch(layout, 2, 7)

    outputs, grads = gradients(graph, states, x, codes)

    assert graph.parameters == sum(each.numel() for each in build(graph).parameters())
    for member, state in enumerate(states):
        network = build(graph).double().train()
        network.load_state_dict(state)
        expected = network(x[member].double(), None if codes is None else codes[member])
        (expected.square().sum() / 2).backward()
        assert_near(outputs[member], expected)
        for key, parameter in network.named_parameters():
            if key.removesuffix(".bias") not in graph.frozen_biases:
                assert parameter.grad is not None
                assert_near(grads[key][member], parameter.grad)


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Within 1e-6 of the largest value, but for networks that amplify: batch norm of few rows divides by little."""
    scale = max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(found.double() / scale, expected.detach() / scale, rtol=0, atol=2e-4)


@pytest.mark.parametrize("columns", [1, 3, 20])
def test_the_gradients_of_each_layer_are_exact_to_six_digits(columns: int) -> None:
    layout = InputLayout(columns + 2, tuple(range(1, columns + 1)), (5, 12), (3, 6))
    layers = [{"kind": "scaling"}, {"kind": "periodic"}, {"kind": "linear", "out_features": 9, "name": "a"}]
    layers += [{"kind": "embedding", "name": "e"}, {"kind": "concat", "inputs": ["a", "e"]}]
    graph = graph_of({"kind": "layers", "layers": layers}, layout)
    states = [initial_state(graph, seed) for seed in range(3)]
    x, codes = batch(layout, 3, 16)
    assert codes is not None

    _, grads = gradients(graph, states, x, codes)

    for member, state in enumerate(states):
        network = build(graph).double()
        network.load_state_dict(state)
        (network(x[member].double(), codes[member]).square().sum() / 2).backward()
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None
            scale = max(1.0, float(parameter.grad.abs().max()))
            assert (grads[key][member].double() - parameter.grad).abs().max() <= 1e-6 * scale, key


@settings(max_examples=40)
@given(st.data())
def test_a_member_has_the_same_bits_alone_and_in_company(data: st.DataObject) -> None:
    layout = data.draw(layouts())
    graph = graph_of(data.draw(networks(layout)), layout)
    members = data.draw(st.sampled_from([2, 3, 5, 16]))
    states = [initial_state(graph, seed) for seed in range(members)]
    x, codes = batch(layout, members, data.draw(st.integers(2, 40)))

    outputs, grads = gradients(graph, states, x, codes)

    for member in range(members):
        own = slice(member, member + 1)
        alone, grads_alone = gradients(graph, [states[member]], x[own], None if codes is None else codes[own])
        assert torch.equal(outputs[own], alone)
        assert all(torch.equal(grads[key][own], grads_alone[key]) for key in grads)


def test_initial_values_follow_the_formulas() -> None:
    layout = InputLayout(2_000, tuple(range(2_000)), (401, 40), (25, 4))
    options = {"scaling": True, "periodic": {"frequencies": 16, "sigma": 0.3}}
    state = initial_state(graph_of({"hidden": [], **options}, layout), 0)

    frequency, phase, weight, bias = (state[f"layers.0.{name}"] for name in ("frequency", "phase", "weight", "bias"))
    assert frequency.std() == pytest.approx(0.3, rel=0.02)
    assert frequency.mean() == pytest.approx(0.0, abs=0.01)
    assert phase.abs().max() == pytest.approx(math.pi, rel=0.01)
    assert weight.abs().max() == pytest.approx(0.25, rel=0.01)
    assert bias.abs().max() == pytest.approx(0.25, rel=0.01)
    vectors = state["layers.1.weight"][: 401 * 25].view(401, 25)
    assert not vectors[0].any()
    assert vectors.abs().max() == pytest.approx(0.2, rel=0.01)
    assert torch.equal(state["layers.3.weight"], torch.ones(2_000 + 3 * 2_000 + 29))


def test_the_zero_vector_of_code_0_is_never_trained(tmp_path_factory: pytest.TempPathFactory) -> None:
    job, data = coded(coded_table(tmp_path_factory.mktemp("coded")), max_epochs=3, optimizer={"weight_decay": 0.1})
    assert data.train.codes is not None
    data.train.codes[::3] = 0

    trainer = ArrayTrainer([job], [data], CPU, [None])
    trainer.epoch([1], [[0.1]])

    weight = trainer.array.state(0)["layers.0.weight"]
    first = job.graph.layout.categories[0] * job.graph.layout.embedding_sizes[0]
    assert not weight[: job.graph.layout.embedding_sizes[0]].any()
    assert not weight[first : first + job.graph.layout.embedding_sizes[1]].any()
    assert weight.any()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return coded_table(tmp_path_factory.mktemp("coded"))


NETWORK = {"hidden": [13], "scaling": True, "periodic": {"frequencies": 5}, "dropout": 0.2}


def trained(jobs: list[Any], data: list[Any], resume: Any = ()) -> list[Outcome]:
    """(rows but for seconds, best weights, last weights) of each job, trained together."""
    training = Training(jobs, data, CPU, resume)
    rows: list[list[dict[str, Any]]] = [[] for _ in jobs]
    ends: dict[int, tuple[Any, Any]] = {}
    for reports in training:
        for seen in [observe(training, report) for report in reports]:
            rows[seen.member].append(seen.row.model_dump(exclude={"seconds"}) | {"test": seen.test})
            if seen.ended:
                ends[seen.member] = seen.best_state, seen.last_state
    return [(rows[member], *ends[member]) for member in range(len(jobs))]


@pytest.mark.parametrize("target", ["class", "y"])
def test_folds_with_codes_train_as_one_array_with_the_bits_of_each_alone(table: Stored, target: str) -> None:
    pairs = [
        coded(table, target, architecture=NETWORK, split={"folds": 4, "fold": fold}, seed=fold, max_epochs=4)
        for fold in range(1, 5)
    ]
    jobs, data = [list(each) for each in zip(*pairs, strict=True)]
    assert len({job.shape_key for job in jobs}) == 1

    together = trained(jobs, data)

    for job, rows, outcome in zip(jobs, data, together, strict=True):
        assert_same(outcome, trained([job], [rows])[0])


def test_a_job_with_codes_is_resumed_bit_for_bit(table: Stored) -> None:
    job, data = coded(table, architecture=NETWORK, max_epochs=6, early_stopping=None)
    whole = trained([job], [data])[0]
    training = Training([job], data, CPU)
    rows = []
    for reports in training:
        rows.append(reports[0].row)
        if len(rows) == 3:
            break
    start = ResumePoint(training.snapshot(0), rows)

    resumed = trained([job], [data], [start])[0]

    assert resumed[0] == whole[0][3:]
    assert_same((whole[0], *resumed[1:]), whole)


def test_statistics_of_averaged_weights_are_computed_with_codes(table: Stored) -> None:
    averaging = {"kind": "swa", "start": 2}
    pairs = [coded(table, architecture=NETWORK, averaging=averaging, max_epochs=4, seed=seed) for seed in (0, 1)]
    jobs, data = [list(each) for each in zip(*pairs, strict=True)]

    together = trained(jobs, data)

    assert [row["epoch"] for row in together[0][0]] == [1, 2, 3, 4]
    for job, rows, outcome in zip(jobs, data, together, strict=True):
        assert_same(outcome, trained([job], [rows])[0])


def test_codes_count_in_the_rows_gathered_at_once(table: Stored) -> None:
    _, data = coded(table, data={"features": ["city", "kind"]})
    rows = MemberRows([data.train], CPU)
    (stage,) = stages([batch_sizes(8, 4)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_sets, "GATHER_VALUES", 1)
        found = list(
            rows.batches(stage.spans[0], stage.steps, FullOrders(rows.numbered([torch.arange(len(data.train.y))])))
        )

    assert [batch.codes is not None and batch.codes.untyped_storage().nbytes() for batch in found] == [4 * 2 * 8] * 2


def test_a_table_of_texts_alone_is_trained_on(table: Stored) -> None:
    job, data = coded(table, data={"features": ["city", "kind"]}, architecture={"scaling": True}, max_epochs=30)

    rows, _, _ = trained([job], [data])[0]

    assert job.inputs == 0
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_autograd_computes_the_same_of_codes(table: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not Adam, which amplifies the rounding of small gradients.
    network = {"hidden": [7], "scaling": True, "periodic": {}}
    job, data = coded(table, architecture=network, max_epochs=2, optimizer={"kind": "sgd", "lr": 0.05})
    ((rows, _, last),) = trained([job], [data])
    for kind in [type(layer) for layer in job.layers[:4]]:
        monkeypatch.delitem(FAST, kind, raising=False)

    ((by_autograd, _, others),) = trained([job], [data])

    assert by_autograd[-1]["train_loss"] == pytest.approx(rows[-1]["train_loss"], rel=1e-4)
    torch.testing.assert_close(others, last, rtol=1e-3, atol=1e-3)
