"""The published models of a service: publish, find, list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.client.model import Model
from service.client.served_model import ServedModel
from service.domain.model import Model as State
from service.domain.model import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from service.client.job import Job
    from service.client.sweep import Sweep
    from service.client.transport import Transport


class Models:
    """The published models of a service: `client.models`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        source: Job | Sweep | Mapping[Job, float] | Mapping[str, float] | Mapping[Job | str, float],
        *,
        select: str | None = None,
        description: str | None = None,
        alias: str | None = None,
    ) -> ModelVersion:
        """Publish the next version of the model `name`.

        `source`: a job; a sweep, with `select="best"` or `"greedy"`; or the weight of each member by job or job id, as
        in `{job: 3.0, "job_...": 1.0}`. It is not the object `from` of the HTTP request.
        `alias`: is moved to the new version; the first version of a name gets `champion` anyway.
        """
        body: dict[str, Any] = {"name": name, "from": _source(source) | ({} if select is None else {"select": select})}
        body |= {key: value for key, value in (("description", description), ("alias", alias)) if value is not None}
        return ModelVersion.model_validate(self._transport.create("/v1/models", body))

    def get(self, name: str) -> Model:
        """The model of this name."""
        return Model(self._transport, State.model_validate(self._transport.json("GET", f"/v1/models/{name}")))

    def at(self, address: str) -> ServedModel:
        """The version at an address: `NAME` (its alias `champion`), `NAME@ALIAS` or `NAME:VERSION`."""
        return ServedModel(self._transport, address)

    def list(self, **filters: Any) -> Iterator[Model]:
        """Matching models, newest first: `name=`, `job=`."""
        for state in self._transport.pages("/v1/models", filters):
            yield Model(self._transport, State.model_validate(state))


def _source(source: Any) -> dict[str, Any]:
    """`from` of the request."""
    if hasattr(source, "items"):
        return {"members": [{"job": getattr(job, "id", job), "weight": weight} for job, weight in source.items()]}
    kind = "sweep" if hasattr(source, "summary") else "job"
    return {kind: source.id}
