"""Publishes a version of a model: chooses and reads its members, and stores it in one transaction."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from service.api.models.members import read_members
from service.api.models.selection import choose, conflict
from service.api.routes.jobs import fingerprint
from service.domain.model import VersionMetrics
from service.errors import NotFound
from service.store import keys
from service.store.models import versions
from service.store.models.versions import NewModelVersion

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.domain.model import ModelVersion
    from service.spec.model import NewVersion


def publish(context: RequestContext, asked: NewVersion, key: str | None) -> tuple[ModelVersion, bool]:
    """The new version; (version, False) if this Idempotency-Key created it before. Blocks."""
    sha256 = fingerprint(asked)
    with context.database.reading() as connection:
        known = None if key is None else versions.by_idempotency_key(connection, key, sha256)
        by = keys.actor(connection, context.caller.key)
    if known is not None:
        return known, False
    chosen = choose(context, asked.source)
    members, signature = read_members(context, chosen)
    context.check_quota(sum(len(json.dumps(new.member.spec)) for new in members))
    source = asked.source
    if source.sweep is not None:
        source = source.model_copy(update={"select": source.select or "best"})
    new = NewModelVersion(
        name=asked.name,
        description=asked.description,
        alias=asked.alias,
        source=source,
        signature=signature,
        metrics=VersionMetrics(validation=None, test=None),
        members=members,
        created_by=by,
        service_version=version("bestepoch"),
    )
    try:
        with context.database.transaction() as connection:
            return versions.create(connection, new, idempotency_key=key, request_sha256=sha256)
    except NotFound as error:  # deleted meanwhile
        raise conflict("/from", f"{error.detail}: it was deleted meanwhile") from error
