"""Training warnings of a job: settings without effect, rules that cannot fire, and batches that are too large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.spec.architecture import TabularOptions
from service.spec.averaging import Ema, Swa
from service.spec.data import Preprocess
from service.spec.layers import BatchNorm
from service.spec.limits import MAX_PREDICTIONS, prediction_count
from service.spec.optimizer import AdamW
from service.spec.resolved import SpecWarning

if TYPE_CHECKING:
    from service.spec.resolved import Resolved

FEW_ROWS_OF_NORM = 16
_CANNOT_FIRE = {"patience": "patience", "gl": "min_epochs", "pq": "k", "up": "s"}  # the field to point at


def of_training(resolved: Resolved) -> list[SpecWarning]:
    """Warnings about rules, batches and precision that will not do what was probably meant."""
    spec, warnings = resolved.spec, []
    rule = spec.early_stopping
    if rule and rule.earliest_stop >= spec.max_epochs:
        message = (
            f"{rule.rule} can fire at epoch {rule.earliest_stop} at the earliest,"
            f" but training ends at epoch {spec.max_epochs}"
        )
        warnings.append(_warn(f"{rule.rule}_cannot_fire", message, f"/early_stopping/{_CANNOT_FIRE[rule.rule]}"))
    warnings += [*_averaging_warnings(resolved), *_without_effect(resolved)]
    size = resolved.batch_rows
    if size > 1 and resolved.rows.train > size and resolved.rows.train % size == 1:
        warnings.append(
            _warn(
                "tail_batch_of_one",
                "the last batch would have one row; it joins the batch before it",
                "/batch_size",
            )
        )
    if resolved.spec.batch_size != "full" and resolved.spec.batch_size > resolved.rows.train:
        warnings.append(
            _warn("batch_larger_than_rows", f"there are only {resolved.rows.train} training rows", "/batch_size")
        )
    if spec.precision == "bfloat16" and spec.device != "cuda":
        message = "bfloat16 is for GPUs: on a CPU it loses precision and is no faster"
        warnings.append(_warn("bfloat16_on_cpu", message, "/precision"))
    if (count := prediction_count(resolved)) > MAX_PREDICTIONS:
        message = (
            f"the validation and test rows have {count:,} predicted values (rows x classes); predictions are kept for"
            f" up to {MAX_PREDICTIONS:,}, so this job will have none"
        )
        warnings.append(_warn("predictions_not_kept", message, "/split"))
    norms = [layer for layer in resolved.layers if isinstance(layer, BatchNorm)]
    warnings += _parallel_warnings(resolved, bool(norms))
    if resolved.steps_per_epoch == 1 and norms:
        message = (
            "with one step an epoch, batch normalization's running statistics lag some"
            f" {2 / min(norm.momentum for norm in norms):.0f} epochs behind the weights: early validation losses"
            " mean little (raise the momentum of batch norm to shorten it)"
        )
        warnings.append(_warn("one_step_per_epoch", message, "/batch_size"))
    return warnings


def _parallel_warnings(resolved: Resolved, has_norms: bool) -> Iterator[SpecWarning]:
    parallel = resolved.spec.parallel
    if parallel is None or not has_norms or parallel.batch_norm == "synchronized":
        return
    if (rows := resolved.batch_rows // parallel.devices) < FEW_ROWS_OF_NORM:
        message = (
            f"each device normalizes by the {rows} rows that it has of a batch, whose statistics are noisy: take larger"
            " batches, or batch_norm `synchronized`"
        )
        yield _warn("few_rows_of_batch_norm", message, "/parallel/batch_norm")


def _averaging_warnings(resolved: Resolved) -> list[SpecWarning]:
    spec, averaging, rule = resolved.spec, resolved.spec.averaging, resolved.spec.early_stopping
    if isinstance(averaging, Ema):
        steps, reach = resolved.steps_per_epoch * spec.max_epochs, 1.0 / (1.0 - averaging.decay)
        if reach * 3 > steps:
            message = f"the average reaches back some {reach:,.0f} steps, but training has {steps:,} at most"
            return [_warn("average_too_long", f"{message}: take a smaller decay", "/averaging/decay")]
    if isinstance(averaging, Swa) and rule and rule.earliest_stop < (first := averaging.first_epoch(spec.max_epochs)):
        message = f"early stopping may end training before epoch {first}, from which on weights are averaged"
        return [_warn("average_may_not_begin", message, "/averaging/start")]
    return []


def _without_effect(resolved: Resolved) -> Iterator[SpecWarning]:
    """Settings that differ from their defaults and change nothing."""
    spec, asked, default = resolved.spec, resolved.spec.preprocess, Preprocess()
    optimizer, network = spec.optimizer, spec.architecture
    if asked.bins != default.bins and asked.numeric != "piecewise_linear":
        yield _needs("/preprocess/bins", "preprocess.numeric `piecewise_linear`")
    if asked.embedding_size != default.embedding_size and asked.categorical != "embedding":
        yield _needs("/preprocess/embedding_size", "preprocess.categorical `embedding`")
    if asked.target_smoothing != default.target_smoothing and asked.high_cardinality != "target":
        yield _needs("/preprocess/target_smoothing", "preprocess.high_cardinality `target`")
    if isinstance(optimizer, AdamW) and optimizer.decay_schedule != "constant" and not optimizer.weight_decay:
        yield _needs("/optimizer/decay_schedule", "a weight_decay above 0")
    if isinstance(network, TabularOptions) and network.periodic is not None and not resolved.graph.layout.scaled:
        yield _needs("/architecture/periodic", "numeric columns")


def _needs(pointer: str, what: str) -> SpecWarning:
    return _warn("no_effect", f"{pointer.rpartition('/')[2]} has no effect without {what}", pointer)


def _warn(code: str, message: str, pointer: str) -> SpecWarning:
    return SpecWarning(code=code, message=message, pointer=pointer)
