"""Publishes the model of an ended sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.api.models.publish import publish
from service.domain.sweep import DecisionKind, NewDecision
from service.errors import ServiceError, StorageError, Unavailable
from service.spec.model import NewVersion, VersionSource
from service.store import decisions

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.domain.model import ModelVersion
    from service.domain.sweep import Sweep


def publish_model(context: RequestContext, sweep: Sweep, taken: int) -> None:
    """Publish the model of the sweep, which has ended, after `taken` decisions; without a name only end the sweep.

    A version is made once, however many processes try. What prevents it is recorded as the sweep's error. Raises
    AlreadyDecided, Unavailable and StorageError.
    """
    new, values = list[NewDecision](), dict[str, Any]()
    if sweep.model is not None:
        try:
            version = _publish(context, sweep, sweep.model)
        except (Unavailable, StorageError):
            raise
        except ServiceError as error:
            new = [NewDecision(DecisionKind.failed, error.detail)]
            values = {"error": error.detail}
        else:
            new = [NewDecision(DecisionKind.published, _reason(version, sweep))]
            values = {"published": {"model": version.model, "version": version.version}}
    with context.database.transaction() as connection:
        decisions.take(connection, sweep.id, taken, new, ends=True, **values)


def _publish(context: RequestContext, sweep: Sweep, name: str) -> ModelVersion:
    source = VersionSource(sweep=sweep.id, select=sweep.select)
    key = f"sweep\t{sweep.id}"  # no client can send a key with a tab
    version, _ = publish(context, NewVersion(name=name, source=source), key, key)
    return version


def _reason(version: ModelVersion, sweep: Sweep) -> str:
    members = len(version.members)
    jobs = "1 job" if members == 1 else f"{members} jobs"
    return f"version {version.version} of {version.model!r} was published: {jobs}, chosen by `{sweep.select}`"
