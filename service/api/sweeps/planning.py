"""Plans the jobs of a sweep: each is resolved and validated before any is stored."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from service.api.http.validation_errors import MAX_ERRORS
from service.api.spec_patch import apply
from service.api.table_profiles import profile_for
from service.concurrency.cancellation import current
from service.errors import FieldError, InvalidSpec, json_pointer, located
from service.spec.architecture import row_shape
from service.spec.data import DatasetData
from service.spec.early_stopping import Monitor
from service.spec.job import Task
from service.spec.loss import validation_loss
from service.spec.resolve import Inputs, choose_inputs, resolve
from service.spec.resolved_json import InputsDocuments
from service.spec.sweep import drawn_point, expand, jobs_of, points_of
from service.store.sweeps import SweepJob

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from service.api.context import RequestContext
    from service.domain.sweep import NewDecision
    from service.spec.job import JobSpec
    from service.spec.resolve import Resolved
    from service.spec.sweep import Point, SweepSpec
    from service.spec.table import TableProfile

MAX_SPEC_BYTES = 64 * 1024**2
WARNING_BYTES = 100  # of a warning beside its message
MAX_INPUTS = 256  # cached choices of input columns
PROFILE_VALUES = 250_000  # columns and listed values of the cached profiles: about 100 MB
_TOO_LARGE = "every job keeps its spec, and these would take more than 64 MiB: upload rows, and name fewer columns"


T = TypeVar("T", bound="Hashable")


def check_size(context: RequestContext, sweep: SweepSpec) -> None:
    """Raise InvalidSpec if the sweep has more jobs than the server allows."""
    most = min(context.state.settings.max_sweep_jobs, context.state.settings.max_queued_jobs)
    if sweep.size > most:
        fields = {"/grid": sweep.grid, "/points": sweep.points, "/search/trials": sweep.space, "/replicates": True}
        where = next(pointer for pointer, given in fields.items() if given)
        raise InvalidSpec.at(where, f"the sweep would be {sweep.size:,} jobs; this server allows {most:,}")


def plan_sweep(context: RequestContext, sweep: SweepSpec, proposals: Sequence[NewDecision] = ()) -> list[SweepJob]:
    """The jobs of `sweep` in order, of a search those of its first trials; raises InvalidSpec with at most 20 errors.

    Also refused: more jobs than the server allows, duplicate jobs, and specs that are too large together.
    """
    check_size(context, sweep)
    resolver, errors = Resolver(context, sweep.base), dict[tuple[str, str], FieldError]()
    planned, known, size = list[SweepJob](), set[bytes](), 0
    documents, inputs = InputsDocuments(), set[str]()
    for point, trial, limit in _points(sweep, proposals):
        if len(errors) >= MAX_ERRORS:
            break
        current().check()
        try:
            resolved = resolver.resolve(point.changes)
            if planned:
                check_comparable(sweep.base.monitor, planned[0].resolved.spec, resolved.spec)
        except InvalidSpec as error:
            for each in error.field_errors:
                found = in_sweep(each, point, resolver.base_errors)
                errors.setdefault((found.pointer, each.message), found)
            continue
        spec = resolved.spec.model_dump_json().encode()
        document = documents.of(resolved)
        size += len(spec) + sum(len(warning.message) + WARNING_BYTES for warning in resolved.warnings)
        size += 0 if document.sha256 in inputs else document.size_bytes
        inputs.add(document.sha256)
        if size > MAX_SPEC_BYTES:
            raise InvalidSpec.at("/base/data", _TOO_LARGE)
        if (digest := hashlib.sha256(spec).digest()) in known:
            errors.setdefault((point.pointer, ""), FieldError(point.pointer, f"duplicate job: {point}"))
        known.add(digest)
        planned.append(SweepJob(point.changes, resolved, trial, limit))
    refuse(list(errors.values()))
    return planned


def _points(sweep: SweepSpec, proposals: Sequence[NewDecision]) -> Iterator[tuple[Point, int | None, int | None]]:
    """The point of each job, with its trial and limit of epochs in a search."""
    if sweep.search is None:
        yield from ((point, None, None) for point in expand(sweep))
        return
    space = sweep.space
    points = points_of(sweep) if space is None else (drawn_point(space, each.point or {}) for each in proposals)
    for each, point in zip(proposals, points, strict=True):
        yield from ((job, each.trial, each.epochs) for job in jobs_of(sweep, point))


def refuse(errors: Sequence[FieldError]) -> None:
    """Raise InvalidSpec if there are errors."""
    if errors:
        also = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InvalidSpec(f"{located(errors[0].pointer, errors[0].message)}{also}", tuple(errors))


def check_comparable(monitor: Monitor, first: JobSpec, spec: JobSpec) -> None:
    """Raise InvalidSpec if jobs of different tasks, or values of different losses, would be ranked by `monitor`.

    It is that of the base; jobs that stop by another metric have a value of this one too.
    """
    if first.task is not spec.task:
        raise InvalidSpec.at("/task", f"{first.task.value} and {spec.task.value} cannot be compared: sweep one task")
    if monitor in (Monitor.val_loss, Monitor.train_loss) and _unit(monitor, first) != _unit(monitor, spec):
        metric = Monitor.val_rmse if spec.task is Task.regression else Monitor.val_log_loss
        message = (
            f"{monitor.value} of different losses cannot be compared: set early_stopping.monitor of the base"
            f" to a metric, such as {metric.value}"
        )
        raise InvalidSpec.at("/loss/kind" if first.loss.kind != spec.loss.kind else "/loss", message)


def _unit(monitor: Monitor, spec: JobSpec) -> dict[str, Any]:
    """The loss without what does not change the monitored one."""
    loss = spec.known_loss
    return loss.model_dump() if monitor is Monitor.train_loss else validation_loss(loss)


class Resolver:
    """Resolves many variants of one base spec; caches profiles and chosen columns, and interns equal features.

    A profile, or the features and warnings of a thousand columns, take megabytes: variants share them.
    """

    def __init__(self, context: RequestContext, base: JobSpec) -> None:
        self._context = context
        self._base = base
        self._profiles: OrderedDict[str, TableProfile] = OrderedDict()  # least recently used first
        self._inputs: OrderedDict[tuple[str, Hashable], Inputs] = OrderedDict()
        self._interned_values: dict[Hashable, Any] = {}

    def resolve(self, changes: Mapping[str, Any]) -> Resolved:
        """The base with these changes; raises InvalidSpec with pointers into the job's spec."""
        spec = apply(self._base, changes)
        profile = self._profile(spec)
        return resolve(spec, profile, self._context.state.limits, self._chosen(spec, profile))

    def _profile(self, spec: JobSpec) -> TableProfile:
        key = spec.data.id if isinstance(spec.data, DatasetData) else spec.data.model_dump_json()
        if key not in self._profiles:
            self._profiles[key] = profile_for(self._context, spec)
            while len(self._profiles) > 1 and sum(map(_size, self._profiles.values())) > PROFILE_VALUES:
                self._profiles.popitem(last=False)
        self._profiles.move_to_end(key)
        return self._profiles[key]

    def _chosen(self, spec: JobSpec, profile: TableProfile) -> Inputs:
        asked = spec.task, spec.preprocess, spec.split.columns, row_shape(spec.architecture) is None
        key = spec.data.model_dump_json(), asked
        if key not in self._inputs:
            chosen = choose_inputs(spec, profile)
            features = self._interned(tuple(map(self._interned, chosen.features)))
            warnings = self._interned(tuple(map(self._interned, chosen.warnings)))
            self._inputs[key] = Inputs(chosen.target, features, warnings)
            if len(self._inputs) > MAX_INPUTS:
                self._inputs.popitem(last=False)
        self._inputs.move_to_end(key)
        return self._inputs[key]

    def _interned(self, value: T) -> T:
        """The first value equal to this one."""
        found: T = self._interned_values.setdefault(value, value)
        return found

    @cached_property
    def base_errors(self) -> tuple[FieldError, ...]:
        """The errors of the base without changes."""
        try:
            self.resolve({})
        except InvalidSpec as error:
            return error.field_errors
        return ()


def _size(profile: TableProfile) -> int:
    return sum(1 + len(column.values or ()) + len(column.top or ()) for column in profile.columns)


def in_sweep(error: FieldError, point: Point, base_errors: tuple[FieldError, ...]) -> FieldError:
    """Map an error in a job's spec to its origin in the sweep request: the value that causes it, or the base."""
    pointer = point.locate(error.pointer)
    if error.message.startswith("unknown field") and point.pointer in ("/grid", "/space"):
        names = (name for name, place in point.places.items() if place == pointer)
        pointer = next((f"{point.pointer}{json_pointer(name)}" for name in names), pointer)  # wrong is not its value
    caused = pointer.startswith("/base") and point.changes and error not in base_errors
    if caused:
        return FieldError(pointer, f"{error.message} (with {point})")
    part = error.pointer.split("/")[1]
    kinds = [f"{part}.{field}" for field in ("kind", "rule") if f"{part}.{field}" in point.changes]
    others = [kind for kind in kinds if point.places.get(kind) != pointer]
    return FieldError(pointer, f"{error.message} (with {point.only(others)})" if others else error.message)
