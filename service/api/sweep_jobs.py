"""The jobs of a sweep, each checked before any is stored; a fault says where in the sweep it comes from."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from service.api.changes import apply
from service.api.faults import MAX_FAULTS, UNKNOWN_FIELD
from service.api.jobs import profile_for
from service.errors import Fault, InvalidSpec
from service.spec.architecture import row_shape
from service.spec.resolve import choose_inputs, resolve
from service.spec.stored import InputsDocuments
from service.spec.sweep import expand
from service.store.sweeps import SweepJob

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from service.api.deps import Service
    from service.spec.job import JobSpec
    from service.spec.resolve import Inputs, Resolved
    from service.spec.sweep import Point, SweepSpec
    from service.spec.table import TableProfile

MAX_SPEC_BYTES = 64 * 1024**2
_TOO_LARGE = "every job keeps its spec, and these would take more than 64 MiB: upload rows, and name fewer columns"


def plan_sweep(service: Service, sweep: SweepSpec) -> list[SweepJob]:
    """The sweep's jobs in order; raises InvalidSpec with the first 20 wrong places.

    More jobs than the server allows, the same job twice, and specs that are too large together are wrong as well.
    """
    most = min(service.parts.settings.max_sweep_jobs, service.parts.settings.max_queued_jobs)
    if sweep.size > most:
        where = "/grid" if sweep.grid else "/points" if sweep.points else "/replicates"
        raise InvalidSpec.at(where, f"the sweep would be {sweep.size:,} jobs; this server allows {most:,}")
    resolver, faults = _Resolver(service, sweep.base), dict[tuple[str, str], Fault]()
    planned, known, size = list[SweepJob](), set[bytes](), 0
    documents, inputs = InputsDocuments(), set[str]()
    for point in expand(sweep):
        if len(faults) >= MAX_FAULTS:
            break
        try:
            resolved = resolver.resolve(point.changes)
        except InvalidSpec as error:
            for fault in error.faults:
                located = _located(fault, point, resolver.own_faults)
                faults.setdefault((located.pointer, fault.message), located)
            continue
        spec = resolved.spec.model_dump_json().encode()
        document = documents.of(resolved)
        size += len(spec) + (0 if document.sha256 in inputs else document.size_bytes)
        inputs.add(document.sha256)
        if size > MAX_SPEC_BYTES:
            raise InvalidSpec.at("/base/data", _TOO_LARGE)
        if (digest := hashlib.sha256(spec).digest()) in known:
            faults.setdefault((point.pointer, ""), Fault(point.pointer, f"gives the same job a second time: {point}"))
        known.add(digest)
        planned.append(SweepJob(point.changes, resolved))
    if faults:
        first, *more = faults.values()
        also = f" (and {len(more)} more)" if more else ""
        raise InvalidSpec(f"{first.pointer} {first.message}{also}", (first, *more))
    return planned


class _Resolver:
    """Resolves many variants of one base; the columns of the same data are chosen once."""

    def __init__(self, service: Service, base: JobSpec) -> None:
        self._service = service
        self._base = base
        self._tables: dict[tuple[str, Hashable], tuple[TableProfile, Inputs]] = {}

    def resolve(self, changes: Mapping[str, Any]) -> Resolved:
        """The base with these changes; raises InvalidSpec with pointers into the job's spec."""
        spec = apply(self._base, changes)
        key = spec.data.model_dump_json(), (spec.preprocess, spec.split.columns, row_shape(spec.architecture) is None)
        if key not in self._tables:
            profile = profile_for(self._service, spec)
            self._tables[key] = profile, choose_inputs(spec, profile)
        profile, inputs = self._tables[key]
        return resolve(spec, profile, self._service.parts.limits, inputs)

    @cached_property
    def own_faults(self) -> tuple[Fault, ...]:
        """What is wrong with the base as it stands."""
        try:
            self.resolve({})
        except InvalidSpec as error:
            return error.faults
        return ()


def _located(fault: Fault, point: Point, own_faults: tuple[Fault, ...]) -> Fault:
    """The fault of a job as one of the sweep: at the value that brings it about, or at the base."""
    pointer = point.locate(fault.pointer)
    if fault.message == UNKNOWN_FIELD and point.pointer == "/grid" and pointer in point.places.values():
        pointer = pointer.rpartition("/")[0]  # the name is wrong, not one of its values
    caused = pointer.startswith("/base") and point.changes and fault not in own_faults
    return Fault(pointer, f"{fault.message} (with {point})" if caused else fault.message)
