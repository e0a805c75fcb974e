"""Publishes a version of a model: chooses, reads and loads its members, and stores it in one transaction."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from service.api.models.members import data_of, read_members
from service.api.models.profiles import profile_published
from service.api.models.selection import choose, conflict
from service.domain.model import VersionMetrics
from service.domain.model_ref import Member, ModelRef
from service.ensembling.process import score
from service.errors import InvalidSpec, NotFound, PredictionsCorrupt, ReadingLimit
from service.store import keys
from service.store.models import versions
from service.store.models.versions import NewModelVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.api.context import RequestContext
    from service.domain.model import ModelVersion
    from service.spec.model import NewVersion
    from service.store.models.versions import NewMember


def publish(context: RequestContext, asked: NewVersion, key: str | None, sha256: str) -> tuple[ModelVersion, bool]:
    """The new version; (version, False) if the Idempotency-Key `key` created it before. Blocks.

    `sha256`: of the request. Raises InvalidSpec, Conflict, IdempotencyMismatch, QuotaExceeded and errors of files.
    """
    with context.database.reading() as connection:
        known = None if key is None else versions.by_idempotency_key(connection, key, sha256)
        by = keys.actor(connection, context.caller.key)
    if known is not None:
        return known, False
    chosen = choose(context, asked.source)
    members, signature = read_members(context, chosen)
    _check_memory(members, context.state.predictor.model_bytes)
    context.check_quota(sum(len(json.dumps(new.member.spec)) for new in members))
    source = asked.source
    if source.sweep is not None:
        source = source.model_copy(update={"select": source.select or "best"})
    ref = _ref(context, members)
    context.state.predictor.preload(ref)
    new = NewModelVersion(
        name=asked.name,
        description=asked.description,
        alias=asked.alias,
        source=source,
        signature=signature.model_copy(update={"calibration": context.state.predictor.calibration(ref)}),
        metrics=_metrics(context, members),
        members=members,
        created_by=by,
        service_version=version("bestepoch"),
    )
    try:
        with context.database.transaction() as connection:
            made, created = versions.create(connection, new, idempotency_key=key, request_sha256=sha256)
    except NotFound as error:  # deleted meanwhile
        raise conflict("/from", f"{error.detail}: it was deleted meanwhile") from error
    if created:
        profile_published(context, made)
    return made, created


def _check_memory(members: Sequence[NewMember], most: int) -> None:
    """Raise InvalidSpec unless several members fit together into the memory of a helper.

    Otherwise each prediction would load them all again, while other callers wait.
    """
    total = sum(new.member.size_bytes for new in members)
    if len(members) > 1 and total > most:
        message = (
            f"the {len(members)} members take {total:,} bytes, but this server holds models of at most {most:,} bytes "
            "in memory: choose fewer members, or raise BESTEPOCH_MAX_MODEL_BYTES"
        )
        raise InvalidSpec.at("/from", message)


def _ref(context: RequestContext, members: Sequence[NewMember]) -> ModelRef:
    """The files of the members, and their weights, for the predictor."""
    path = context.state.artifacts.path
    return ModelRef(
        tuple(
            Member(
                str(path(new.path, new.member.sha256)),
                new.member.sha256,
                new.member.weight,
                _predictions(context, new),
                data_of(new.member.spec),
            )
            for new in members
        )
    )


def _predictions(context: RequestContext, new: NewMember) -> tuple[str, str] | None:
    """Path and SHA-256 of the predictions that the member's job has kept."""
    kept = new.predictions
    return None if kept is None else (str(context.state.artifacts.path(kept.path, kept.sha256)), kept.sha256)


def _metrics(context: RequestContext, members: Sequence[NewMember]) -> VersionMetrics:
    """Metrics of the average on held-out rows, if all members have kept predictions of rows of the same data."""
    files = [
        (context.state.artifacts.path(new.predictions.path, new.predictions.sha256), new.member.weight)
        for new in members
        if new.predictions is not None
    ]
    if len(files) < len(members) or len({data_of(new.member.spec) for new in members}) > 1:
        return VersionMetrics(validation=None, test=None)
    try:
        scores = score(files, context.state.file_process_limits)
    except ReadingLimit as error:
        message = f"the predictions that the jobs have kept are too large for metrics of their average: {error.detail}"
        raise InvalidSpec.at("/from", message) from error
    except PredictionsCorrupt:  # as `calibration` says
        return VersionMetrics(validation=None, test=None)
    return VersionMetrics.model_validate(scores.model_dump())
