"""The jobs of a sweep, each checked before any is stored; a fault says where in the sweep it comes from."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from service.api.http.validation_errors import MAX_ERRORS, UNKNOWN_FIELD
from service.api.routes.jobs import profile_for
from service.api.spec_patch import apply
from service.concurrency.cancellation import current
from service.errors import FieldError, InvalidSpec
from service.spec.architecture import row_shape
from service.spec.data import DatasetData
from service.spec.resolve import Inputs, choose_inputs, resolve
from service.spec.stored import InputsDocuments
from service.spec.sweep import expand
from service.store.sweeps import SweepJob

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from service.api.context import RequestContext
    from service.spec.job import JobSpec
    from service.spec.resolve import Resolved
    from service.spec.sweep import Point, SweepSpec
    from service.spec.table import TableProfile

MAX_SPEC_BYTES = 64 * 1024**2
WARNING_BYTES = 100  # of a warning beside its message
MAX_INPUTS = 256  # ways to choose the columns of the same data that are kept at a time
PROFILE_VALUES = 250_000  # columns, and values that they list, of the profiles that are kept at a time: some 100 MB
_TOO_LARGE = "every job keeps its spec, and these would take more than 64 MiB: upload rows, and name fewer columns"


T = TypeVar("T", bound="Hashable")


def plan_sweep(context: RequestContext, sweep: SweepSpec) -> list[SweepJob]:
    """The sweep's jobs in order; raises InvalidSpec with the first 20 wrong places.

    More jobs than the server allows, the same job twice, and specs that are too large together are wrong as well.
    """
    most = min(context.state.settings.max_sweep_jobs, context.state.settings.max_queued_jobs)
    if sweep.size > most:
        where = "/grid" if sweep.grid else "/points" if sweep.points else "/replicates"
        raise InvalidSpec.at(where, f"the sweep would be {sweep.size:,} jobs; this server allows {most:,}")
    resolver, faults = _Resolver(context, sweep.base), dict[tuple[str, str], FieldError]()
    planned, known, size = list[SweepJob](), set[bytes](), 0
    documents, inputs = InputsDocuments(), set[str]()
    for point in expand(sweep):
        if len(faults) >= MAX_ERRORS:
            break
        current().check()
        try:
            resolved = resolver.resolve(point.changes)
        except InvalidSpec as error:
            for fault in error.field_errors:
                located = _located(fault, point, resolver.own_faults)
                faults.setdefault((located.pointer, fault.message), located)
            continue
        spec = resolved.spec.model_dump_json().encode()
        document = documents.of(resolved)
        size += len(spec) + sum(len(warning.message) + WARNING_BYTES for warning in resolved.warnings)
        size += 0 if document.sha256 in inputs else document.size_bytes
        inputs.add(document.sha256)
        if size > MAX_SPEC_BYTES:
            raise InvalidSpec.at("/base/data", _TOO_LARGE)
        if (digest := hashlib.sha256(spec).digest()) in known:
            faults.setdefault(
                (point.pointer, ""), FieldError(point.pointer, f"gives the same job a second time: {point}")
            )
        known.add(digest)
        planned.append(SweepJob(point.changes, resolved))
    if faults:
        first, *more = faults.values()
        also = f" (and {len(more)} more)" if more else ""
        raise InvalidSpec(f"{first.pointer} {first.message}{also}", (first, *more))
    return planned


class _Resolver:
    """Resolves many variants of one base; the columns of the same data are chosen once.

    Of all variants only what differs is kept: a profile, and a thousand columns' features and warnings, take megabytes.
    """

    def __init__(self, context: RequestContext, base: JobSpec) -> None:
        self._context = context
        self._base = base
        self._profiles: OrderedDict[str, TableProfile] = OrderedDict()  # the least recently used first
        self._inputs: OrderedDict[tuple[str, Hashable], Inputs] = OrderedDict()
        self._equal: dict[Hashable, Any] = {}

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
        key = spec.data.model_dump_json(), (spec.preprocess, spec.split.columns, row_shape(spec.architecture) is None)
        if key not in self._inputs:
            chosen = choose_inputs(spec, profile)
            features = self._once(tuple(map(self._once, chosen.features)))
            self._inputs[key] = Inputs(chosen.target, features, self._once(tuple(map(self._once, chosen.warnings))))
            if len(self._inputs) > MAX_INPUTS:
                self._inputs.popitem(last=False)
        self._inputs.move_to_end(key)
        return self._inputs[key]

    def _once(self, value: T) -> T:
        """The first value that equals this one."""
        found: T = self._equal.setdefault(value, value)
        return found

    @cached_property
    def own_faults(self) -> tuple[FieldError, ...]:
        """What is wrong with the base as it stands."""
        try:
            self.resolve({})
        except InvalidSpec as error:
            return error.field_errors
        return ()


def _size(profile: TableProfile) -> int:
    return sum(1 + len(column.values or ()) + len(column.top or ()) for column in profile.columns)


def _located(fault: FieldError, point: Point, own_faults: tuple[FieldError, ...]) -> FieldError:
    """The fault of a job as one of the sweep: at the value that brings it about, or at the base."""
    pointer = point.locate(fault.pointer)
    if fault.message == UNKNOWN_FIELD and point.pointer == "/grid" and pointer in point.places.values():
        pointer = pointer.rpartition("/")[0]  # the name is wrong, not one of its values
    caused = pointer.startswith("/base") and point.changes and fault not in own_faults
    return FieldError(pointer, f"{fault.message} (with {point})" if caused else fault.message)
