"""The layers before the first hidden one: embeddings, periodic embeddings, scaling; where each may stand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from service.errors import InvalidSpec
from service.spec.architecture import Architecture
from service.spec.graph import Graph
from service.spec.input_layout import auto_embedding_size
from service.spec.job import JobSpec, version_needed
from service.spec.layers import Concat, Embedding, InputLayout, Linear, Periodic, Scaling
from service.spec.lowering import lower
from service.spec.resolved_json import InputsDocuments, decided, restored
from service.spec.table import TableProfile
from tests.spec.tables import column, resolved

LAYOUT = InputLayout(5, (0, 2), (4, 7), (3, 5))
TEXTS = TableProfile(
    rows=100,
    columns=[
        column("size"),
        column("city", "text", distinct=4, missing=8),
        column("kind", "text", distinct=3),
        column("species", "text", distinct=2),
    ],
)


def lowered(architecture: dict[str, Any], layout: InputLayout = LAYOUT) -> Graph:
    return lower(TypeAdapter(Architecture).validate_python(architecture), layout, 2)


def refusal(architecture: dict[str, Any], layout: InputLayout = LAYOUT) -> tuple[str, str]:
    with pytest.raises(InvalidSpec) as error:
        lowered(architecture, layout)
    (fault,) = error.value.field_errors
    return fault.pointer, fault.message


def layers(*written: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "layers", "layers": list(written)}


def test_embeddings_of_codes_stand_beside_the_numbers() -> None:
    graph = lowered({"hidden": []})

    assert [(node.layer, node.inputs) for node in graph.nodes] == [
        (Embedding((2,), (4, 7), (3, 5)), ("codes",)),
        (Concat((13,), (5, 8)), ("numbers", "layers.0")),
        (Linear((13,), 2), ("layers.1",)),
    ]


def test_periodic_embeddings_come_first_and_scaling_last() -> None:
    graph = lowered({"hidden": [], "scaling": True, "periodic": {"frequencies": 8, "sigma": 1.5}})

    assert graph.layers == (
        Periodic((5,), (0, 2), 8, 1.5),
        Embedding((2,), (4, 7), (3, 5)),
        Concat((19,), (11, 8)),
        Scaling((19,)),
        Linear((19,), 2),
    )
    assert graph.layers[0].parameters == 2 * (8 + 8 + 3 * 8 + 3)


def test_texts_alone_need_no_numbers_and_numbers_alone_no_embeddings() -> None:
    assert [layer.kind for layer in lowered({"hidden": []}, InputLayout(0, (), (4,), (2,))).layers] == [
        "embedding",
        "linear",
    ]
    assert lowered({"hidden": [], "periodic": {}}, InputLayout(3)).layers == (Linear((3,), 2),)


def test_a_list_of_layers_gets_the_embeddings_unless_it_takes_the_codes() -> None:
    written = {"kind": "linear", "out_features": 4}
    without = lowered(layers(written))
    concat = {"kind": "concat", "inputs": ["a", "e"]}
    own = lowered(layers({**written, "name": "a"}, {"kind": "embedding", "name": "e"}, concat))

    assert [layer.kind for layer in without.layers] == ["embedding", "concat", "linear", "linear"]
    assert [layer.kind for layer in own.layers] == ["linear", "embedding", "concat", "linear"]


LINEAR = {"kind": "linear", "out_features": 4}
EMBEDDING = {"kind": "embedding", "inputs": ["codes"]}


@pytest.mark.parametrize(
    ("architecture", "layout", "pointer", "message"),
    [
        (layers(EMBEDDING), InputLayout(3), "/architecture/layers/0/inputs/0", "there are no codes"),
        (layers({"kind": "embedding"}), InputLayout(3), "/architecture/layers/0", "there are no codes"),
        (layers({**LINEAR, "inputs": ["codes"]}), LAYOUT, "/architecture/layers/0/inputs/0", "linear takes numbers"),
        (
            layers({"kind": "embedding", "inputs": ["numbers"]}),
            LAYOUT,
            "/architecture/layers/0/inputs/0",
            "embedding takes codes",
        ),
        (layers(LINEAR, EMBEDDING), LAYOUT, "/architecture/layers/0", "no later layer takes"),
        (layers({**LINEAR, "inputs": ["numbers"]}), LAYOUT, "/architecture/layers", "no layer takes the codes"),
        (
            layers(LINEAR, {**EMBEDDING, "name": "e"}),
            InputLayout(0, (), (4,), (2,)),
            "/architecture/layers/0",
            "there are no numbers",
        ),
        (layers(LINEAR, {"kind": "periodic"}), InputLayout(3, (0,)), "/architecture/layers/1", "takes the 3 values"),
        (layers({"kind": "periodic"}), InputLayout(3), "/architecture/layers/0", "needs a numeric column"),
        ({"kind": "cnn", "shape": [1, 5]}, LAYOUT, "/preprocess/categorical", "takes rows of numbers"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused_with_its_place(
    architecture: dict[str, Any], layout: InputLayout, pointer: str, message: str
) -> None:
    found, said = refusal(architecture, layout)

    assert found == pointer
    assert message in said


@pytest.mark.parametrize(("codes", "size"), [(3, 3), (7, 5), (52, 15), (1_002, 77)])
def test_the_size_of_an_embedding_grows_with_its_vocabulary(codes: int, size: int) -> None:
    assert auto_embedding_size(codes) == size


def test_a_text_column_with_an_embedding_has_no_inputs_but_codes() -> None:
    one_hot, embedded = (resolved(TEXTS, preprocess={"categorical": how}) for how in ("one_hot", "embedding"))
    fixed = resolved(TEXTS, preprocess={"categorical": "embedding", "embedding_size": 9})

    assert (one_hot.inputs, embedded.inputs) == (1 + 5 + 3, 1)
    # code 0, the categories, and one for missing cities
    assert embedded.graph.layout == InputLayout(1, (0,), (6, 4), (4, 3))
    assert fixed.graph.layout.embedding_sizes == (9, 9)
    assert embedded.shape_key != fixed.shape_key


def test_folds_of_a_table_have_the_same_codes() -> None:
    jobs = [
        resolved(TEXTS, preprocess={"categorical": "embedding"}, split={"folds": 5, "fold": fold}) for fold in (1, 5)
    ]

    assert jobs[0].shape_key == jobs[1].shape_key
    assert jobs[0].graph == jobs[1].graph


def test_a_stored_job_with_codes_is_restored() -> None:
    network = {"scaling": True, "periodic": {}}
    job = resolved(TEXTS, preprocess={"categorical": "embedding"}, architecture=network)
    document = InputsDocuments().of(job)
    stored = json.loads(json.dumps([decided(job), document.content]))

    again = restored(job.spec, *stored)

    assert again == replace(job, warnings=())
    one_hot = resolved(TEXTS)
    assert "embedding_size" not in json.dumps(InputsDocuments().of(one_hot).content)


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({}, 1),
        ({"preprocess": {"categorical": "embedding"}}, 2),
        ({"architecture": {"scaling": True}}, 2),
        ({"architecture": {"periodic": {}}}, 2),
        ({"architecture": layers({"kind": "scaling"})}, 2),
    ],
)
def test_workers_of_the_last_version_leave_such_jobs_queued(fields: dict[str, Any], version: int) -> None:
    assert version_needed(JobSpec.model_validate({"data": {"kind": "synthetic"}, **fields})) == version
