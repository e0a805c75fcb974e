"""ResNet, TabM and FT-Transformer in specs: layers, options, limits, and the version that workers need."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from service.errors import InvalidSpec
from service.spec.architecture import Architecture
from service.spec.graph import Graph
from service.spec.job import JobSpec, version_needed
from service.spec.layers import COMPONENTS, EnsembleInput, InputLayout
from service.spec.lowering import lower
from service.spec.resolved_json import InputsDocuments, decided, restored
from service.training.models import build, initial_state
from tests.specs import synthetic

NETWORKS: list[dict[str, Any]] = [
    {"kind": "resnet"},
    {"kind": "resnet", "blocks": 1, "residual_dropout": 0.1, "scaling": True, "periodic": {}},
    {"kind": "tabm"},
    {"kind": "tabm", "mode": "full", "heads": 3, "hidden": [9, 5], "periodic": {}},
    {"kind": "ft_transformer"},
    {"kind": "ft_transformer", "blocks": 3, "ffn_activation": "relu"},
]
LAYOUTS = [InputLayout(5, (0, 1, 3)), InputLayout(5, (1,), (3, 4), (2, 6)), InputLayout(0, (), (3, 4), (2, 6))]


def graph_of(architecture: dict[str, Any], layout: InputLayout, outputs: int = 3) -> Graph:
    return lower(TypeAdapter(Architecture).validate_python(architecture), layout, outputs)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["numbers", "both", "codes"])
@pytest.mark.parametrize("architecture", NETWORKS, ids=str)
def test_the_module_has_as_many_parameters_as_the_layers_say(architecture: dict[str, Any], layout: InputLayout) -> None:
    graph = graph_of(architecture, layout)

    for node in graph.nodes:
        own = sum(each.numel() for key, each in build(graph).named_parameters() if key.startswith(f"{node.name}."))
        assert own == node.layer.parameters, node
    decayed = {f"{node.name}.{name}" for node in graph.nodes for name in node.layer.decayed}
    assert decayed <= initial_state(graph, 0).keys()


@pytest.mark.parametrize("architecture", NETWORKS, ids=str)
def test_a_resolved_job_is_stored_and_restored(architecture: dict[str, Any]) -> None:
    job = synthetic(architecture=architecture)

    stored = json.loads(json.dumps([decided(job), InputsDocuments().of(job).content]))

    assert restored(job.spec, *stored).graph == job.graph
    assert version_needed(job.spec) == 2


def test_an_mlp_needs_no_newer_version() -> None:
    assert version_needed(JobSpec.model_validate({"data": {"kind": "synthetic"}})) == 1


def test_each_row_of_an_ensemble_counts_once_for_each_head() -> None:
    few, many = (synthetic(architecture={"kind": "tabm", "heads": heads}) for heads in (4, 16))

    assert (few.graph.heads, many.graph.heads) == (4, 16)
    assert many.step_values > 3.5 * few.step_values


def test_a_column_and_its_embeddings_share_the_draw_of_a_sign() -> None:
    layout = InputLayout(3, (0, 2), (4, 5), (2, 3))

    graph = graph_of({"kind": "tabm", "heads": 8, "periodic": {}}, layout)

    node = next(node for node in graph.nodes if isinstance(node.layer, EnsembleInput))
    draws = [0, 1, 2, *[0] * COMPONENTS, *[2] * COMPONENTS, 3, 3, 4, 4, 4]
    assert node.layer == EnsembleInput((len(draws),), 8, tuple(draws))
    signs = initial_state(graph, 1)[f"{node.name}.weight"]
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert all((signs[:, place] == signs[:, draw if draw < 3 else draws.index(draw)]).all()
               for place, draw in enumerate(draws))  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "pointer"),
    [
        ({"kind": "ft_transformer", "width": 20, "attention_heads": 8}, "/architecture/attention_heads"),
        ({"kind": "ft_transformer", "width": 65_536}, "/architecture/width"),
        ({"kind": "ft_transformer", "width": 256, "attention_heads": 256}, "/architecture/attention_heads"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_pointer(architecture: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        graph_of(architecture, InputLayout(200))

    assert [error.pointer for error in refused.value.field_errors] == [pointer]


def test_a_resnet_needs_batches_of_two_rows() -> None:
    with pytest.raises(InvalidSpec) as refused:
        synthetic(architecture={"kind": "resnet"}, batch_size=1)

    assert [error.pointer for error in refused.value.field_errors] == ["/batch_size"]
