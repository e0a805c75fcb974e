"""The profile of a version's training rows: made when it is published, or later while its data sets exist."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from service.api.models.members import data_of
from service.artifacts import sha256_of
from service.domain.drift import ProfiledMember
from service.domain.report import StoredFile
from service.domain.version_file import VersionFile, VersionFileKind
from service.drift.process import write_profile
from service.drift.profile import FORMAT
from service.errors import Conflict, DatasetCorrupt, NotFound, ReadingLimit, ServiceError
from service.store import datasets
from service.store.models import aliases, version_files, versions

if TYPE_CHECKING:
    from pathlib import Path

    from service.api.context import RequestContext
    from service.domain.model import ModelMember, ModelVersion
    from service.store.models.aliases import ServedVersion

_log = logging.getLogger(__name__)

PUBLISH_SECONDS = 60.0
"""For which publishing waits for the profile."""


def profile_published(context: RequestContext, version: ModelVersion) -> None:
    """Make the profile of a version that was published just now. Without it the version is as good, but for drift."""
    with context.database.reading() as connection:
        served = aliases.served(connection, version.model, version=version.version)
    try:
        require_profile(context, served, PUBLISH_SECONDS)
    except (ServiceError, OSError) as error:
        _log.warning("no profile of the training rows of %s:%s: %s", version.model, version.version, error)


def require_profile(context: RequestContext, served: ServedVersion, seconds: float | None = None) -> StoredFile:
    """The file of the profile, made if there is none. Blocks, for `seconds` at most.

    Raises Conflict if it cannot be made any more, DatasetCorrupt, QuotaExceeded, StorageError.
    """
    with context.database.reading() as connection:
        found = version_files.find(connection, served.name, served.version, VersionFileKind.profile)
        key = f"{version_files.folder(connection, served.name, served.version)}/profile-{FORMAT}.json"
    if found is not None and found.path == key and _is_intact(context, found):
        return StoredFile(context.state.artifacts.path(key, found.sha256), found.sha256)
    members = _members(context, served)
    limits = context.state.file_process_limits
    limits = limits if seconds is None else limits.model_copy(update={"seconds": seconds})
    with context.state.artifacts.scratch() as scratch:
        target = scratch / "profile.json"
        try:
            write_profile(members, target, limits)
        except ReadingLimit as error:
            raise Conflict(f"the training rows cannot be profiled: {error.detail}") from error
        size, sha256 = target.stat().st_size, sha256_of(target)
        context.check_quota(size)
        context.state.artifacts.adopt(target, key, replace=True)
    file = VersionFile(kind=VersionFileKind.profile, sha256=sha256, size_bytes=size, path=key)
    with context.database.transaction() as connection:
        version_files.replace(connection, served.name, served.version, file)
    return StoredFile(context.state.artifacts.path(key, sha256), sha256)


def _is_intact(context: RequestContext, file: VersionFile) -> bool:
    try:
        return sha256_of(context.state.artifacts.path(file.path, file.sha256)) == file.sha256
    except OSError:
        return False


def _members(context: RequestContext, served: ServedVersion) -> list[ProfiledMember]:
    """Raises Conflict if a data set was deleted, DatasetCorrupt."""
    with context.database.reading() as connection:
        members = versions.get(connection, served.name, served.version).members
    tables = {data_of(each.spec): _table(context, each) for each in members}
    one_table = len(tables) == 1  # else a row number is not one row
    path = context.state.artifacts.path
    return [
        ProfiledMember(
            checkpoint=path(file.path, file.sha256),
            spec=member.spec,
            weight=member.weight,
            table=tables[data_of(member.spec)],
            predictions=None if file.predictions is None or not one_table else path(*file.predictions),
        )
        for member, file in zip(members, served.members, strict=True)
    ]


def _table(context: RequestContext, member: ModelMember) -> Path | None:
    """The stored table that a member was trained on; None for data inside the spec."""
    data = member.spec.get("data", {})
    if data.get("kind") != "dataset":
        return None
    try:
        with context.database.reading() as connection:
            key, sha256 = datasets.file_of(connection, data["id"])
    except NotFound as error:
        message = (
            f"the version has no profile of its training rows, and the data set {data['id']!r} was deleted: publish a "
            "version from jobs whose data set exists"
        )
        raise Conflict(message) from error
    path = context.state.artifacts.path(key, sha256)
    try:
        same = sha256_of(path) == sha256
    except OSError:
        same = False
    if not same:
        raise DatasetCorrupt("the stored rows are missing or changed; upload the file again")
    return path
