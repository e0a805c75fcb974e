"""Random arrays of jobs, and their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from service.data.preprocess.dataset import prepare
from service.spec.resolve import Resolved
from service.training.loop import ResumePoint
from tests.specs import synthetic
from tests.training.jobs import CPU, train

State = dict[str, Tensor]
Outcome = tuple[list[dict[str, Any]], State, State]

# What may differ from member to member.
OPTIMIZERS = {
    "sgd": st.fixed_dictionaries(
        {"momentum": st.sampled_from([0.0, 0.9]), "weight_decay": st.sampled_from([0.0, 0.1])}
    ),
    "adam": st.fixed_dictionaries({"betas": st.sampled_from([(0.9, 0.999), (0.5, 0.9)]), "eps": st.just(1e-6)}),
    "adamw": st.fixed_dictionaries({"weight_decay": st.sampled_from([0.0, 0.2])}),
}
SCHEDULES = st.builds(
    lambda kind, warmup: {**kind, **warmup},
    st.sampled_from(
        [
            {"kind": "constant"},
            {"kind": "cosine"},
            {"kind": "step", "step_size": 2},
            {"kind": "plateau", "patience": 0},
            {"kind": "coslog4"},
            {"kind": "one_cycle", "epochs": 3},
        ]
    ),
    st.sampled_from([{}, {}, {"warmup_steps": 5}, {"warmup_share": 0.4}]),
)
LOSSES: dict[bool, dict[str, Any]] = {  # by whether the task is regression
    True: {
        "auto": st.just({}),
        "absolute": st.just({}),
        "huber": st.fixed_dictionaries({"delta": st.sampled_from([0.3, 1.0])}),
        "quantile": st.fixed_dictionaries({"q": st.sampled_from([0.1, 0.5, 0.9])}),
        "poisson": st.just({}),
    },
    False: {
        "auto": st.fixed_dictionaries({"label_smoothing": st.sampled_from([0.0, 0.1])}),
        "focal": st.fixed_dictionaries({"gamma": st.sampled_from([0.0, 0.5, 2.0])}),
    },
}
AVERAGING: dict[str | None, Any] = {
    None: st.none(),
    "ema": st.fixed_dictionaries({"kind": st.just("ema"), "decay": st.sampled_from([0.0, 0.5, 0.9])}),
    "swa": st.builds(lambda start: {"kind": "swa", "start": start}, st.none() | st.just(1)),
}
# What members of an array must share.
RATES = st.sampled_from([{}, {}, {"linear.bias": 0.1}, {"linear": 0.5, "linear.weight": 3.0}])
STOPPING = st.none() | st.builds(lambda patience: {"patience": patience}, st.integers(1, 4))

ACTIVATIONS = st.sampled_from(["relu", "elu", "gelu", "tanh", "sigmoid", "silu", "leaky_relu"])
SHAPES = st.sampled_from([[1, 3, 4], [3, 2, 2], [1, 12], [4, 3]])


@st.composite
def layer_lists(draw: st.DrawFn) -> dict[str, Any]:
    """Layers one by one on what may be flat rows, sequences or images of 12 values."""
    shape = draw(st.none() | SHAPES)
    kinds: list[dict[str, Any]] = [{"kind": "layer_norm"}, {"kind": "batch_norm"}, {"kind": "dropout", "p": 0.3}]
    kinds.append({"kind": "activation", "function": draw(ACTIVATIONS)})
    if shape is None:
        kinds.append({"kind": "linear", "out_features": draw(st.integers(1, 40))})
    else:
        window = {"kernel_size": draw(st.integers(1, 3)), "padding": 1, "stride": draw(st.integers(1, 2))}
        convolution = {"kind": f"conv{len(shape) - 1}d", "out_channels": draw(st.integers(1, 9)), **window}
        pools = [{"kind": pool, "kernel_size": 2, "padding": 1} for pool in ("max_pool", "avg_pool")]
        kinds += [convolution, *pools]
    return {"kind": "layers", "shape": shape, "layers": draw(st.lists(st.sampled_from(kinds), max_size=5))}


@st.composite
def layer_graphs(draw: st.DrawFn) -> dict[str, Any]:
    """Layers on flat rows that take named inputs, with sums and concatenations, and no output left unused."""
    widths: dict[str, int] = {"numbers": 12}
    layers: list[dict[str, Any]] = []
    unused: list[str] = []

    def add(width: int, inputs: list[str], **layer: Any) -> None:
        name = f"n{len(layers)}"
        layers.append({**layer, "name": name, "inputs": inputs})
        widths[name] = width
        unused[:] = [*(each for each in unused if each not in inputs), name]

    for _ in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from(sorted(widths)))
        alike = [name for name, width in widths.items() if width == widths[source]]
        kind = draw(st.sampled_from(["linear", "batch_norm", "layer_norm", "activation", "dropout", "add", "concat"]))
        if kind == "linear":
            width = draw(st.sampled_from([12, draw(st.integers(1, 40))]))
            add(width, [source], kind=kind, out_features=width)
        elif kind == "add":
            add(widths[source], [source, *draw(st.lists(st.sampled_from(alike), min_size=1, max_size=2))], kind=kind)
        elif kind == "concat":
            inputs = [source, *draw(st.lists(st.sampled_from(sorted(widths)), min_size=1, max_size=2))]
            add(sum(map(widths.__getitem__, inputs)), inputs, kind=kind)
        else:
            options = {"activation": {"function": draw(ACTIVATIONS)}, "dropout": {"p": 0.3}}.get(kind, {})
            add(widths[source], [source], kind=kind, **options)
    if len(unused) > 1:
        add(sum(map(widths.__getitem__, unused)), list(unused), kind="concat")
    return {"kind": "layers", "layers": layers}


TABULAR = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("resnet"),
            "width": st.integers(1, 40),
            "blocks": st.integers(1, 2),
            "hidden_factor": st.sampled_from([0.5, 1.7]),
            "residual_dropout": st.sampled_from([0.0, 0.3]),
            "activation": ACTIVATIONS,
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("tabm"),
            "mode": st.sampled_from(["mini", "full"]),
            "heads": st.integers(2, 5),
            "hidden": st.lists(st.integers(1, 40), min_size=1, max_size=2),
            "activation": ACTIVATIONS,
        }
    ),
)


@st.composite
def transformers(draw: st.DrawFn) -> dict[str, Any]:
    """Small FT-Transformers with dropout in all places."""
    heads = draw(st.integers(1, 3))
    return {
        "kind": "ft_transformer",
        "width": heads * draw(st.integers(1, 9)),
        "attention_heads": heads,
        "blocks": draw(st.integers(1, 2)),
        "ffn_activation": draw(st.sampled_from(["relu", "reglu"])),
        **dict.fromkeys(("attention_dropout", "ffn_dropout", "residual_dropout"), draw(st.sampled_from([0.0, 0.3]))),
    }


NETWORKS = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("mlp"),
            "hidden": st.lists(st.integers(1, 40), max_size=2),
            "batch_norm": st.booleans(),
            "activation": ACTIVATIONS,
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("cnn"),
            "shape": SHAPES,
            "channels": st.lists(st.integers(1, 9), min_size=1, max_size=2),
            "pool": st.just(1),
            "hidden": st.lists(st.integers(1, 40), max_size=1),
            "batch_norm": st.booleans(),
            "activation": ACTIVATIONS,
        }
    ),
    layer_lists(),
    layer_graphs(),
    TABULAR,
    transformers(),
)


@st.composite
def arrays(draw: st.DrawFn) -> list[Resolved]:
    """Jobs that share what must be shared, and differ in everything else."""
    kind = draw(st.sampled_from(sorted(OPTIMIZERS)))
    dropout = draw(st.booleans())
    regression = draw(st.booleans())
    loss = draw(st.sampled_from(sorted(LOSSES[regression])))
    averaging = draw(st.sampled_from([None, None, "ema", "swa"]))
    decay_schedule = {"decay_schedule": draw(st.sampled_from(["constant", "flat_cos"]))} if kind == "adamw" else {}
    weighted = {} if regression else {"class_weight": draw(st.sampled_from([None, "balanced"]))}
    x = [[(i * j) % 13 / 17 for j in range(1, 13)] for i in range(45)]
    inline = {"kind": "inline", "x": x, "y": [i * 0.37 % 3 for i in range(45)]}
    architecture = draw(NETWORKS)
    rates = {} if architecture.get("mode") == "full" else draw(RATES)  # which has no layer of kind linear
    kinds = [layer["kind"] for layer in architecture.get("layers", [])]
    norms = architecture.get("batch_norm", "batch_norm" in kinds or architecture["kind"] == "resnet")
    shared = {
        "data": inline if regression else {"kind": "synthetic", "rows": 45, "features": 12, "classes": 3},
        "batch_size": draw(st.sampled_from([3 if norms else 1, 7, 16, "full"])),
        "split": {"test": 0.2},
        "precision": draw(st.sampled_from(["float32", "bfloat16"])),
    }
    dropout = dropout and architecture["kind"] not in ("layers", "ft_transformer")
    jobs = []
    for _ in range(draw(st.integers(2, 4))):
        rate = {"dropout": draw(st.sampled_from([0.1, 0.5]))} if dropout else {}
        fields = {
            "architecture": {**architecture, **rate},
            "optimizer": {
                "kind": kind,
                "lr": draw(st.sampled_from([0.001, 0.03])),
                "max_grad_norm": draw(st.sampled_from([None, 0.01, 0.5])),
                **draw(OPTIMIZERS[kind]),
                **decay_schedule,
                "rates": rates,
            },
            "schedule": draw(SCHEDULES),
            "averaging": draw(AVERAGING[averaging]),
            "loss": {"kind": loss, **weighted, **draw(LOSSES[regression][loss])},
            "early_stopping": draw(STOPPING),
            "max_epochs": draw(st.integers(1, 6)),
            "seed": draw(st.integers(0, 5)),
        }
        jobs.append(synthetic(**shared, **fields))
    return jobs


def outcomes(
    jobs: list[Resolved], weight: NDArray[np.float32] | None = None, starts: Sequence[ResumePoint | None] = ()
) -> list[Outcome]:
    """(rows but for seconds, best weights, last weights) of each job, trained together; the last row has outputs."""
    data = prepare(jobs[0].preparation, None)
    data = replace(data, train=replace(data.train, weight=weight))
    rows: list[list[dict[str, Any]]] = [[] for _ in jobs]
    ends: dict[int, tuple[State, State]] = {}
    for reports in train(jobs, data, CPU, starts):
        for report in reports:
            outputs = None if report.outputs is None else [part.numpy().tobytes() for part in report.outputs]
            ended = {"test": report.test, "outputs": outputs}
            rows[report.member].append(report.row.model_dump(exclude={"seconds"}) | ended)
            if report.ended:
                ends[report.member] = report.best_state, report.last_state
    return [(rows[member], *ends[member]) for member in range(len(jobs))]


def assert_same(one: Outcome, other: Outcome) -> None:
    """Equal to the bit; NaN, which a job that explodes leaves, equals itself."""
    assert one[0] == other[0]
    for left, right in zip(one[1:], other[1:], strict=True):
        torch.testing.assert_close(left, right, rtol=0.0, atol=0.0, equal_nan=True)
