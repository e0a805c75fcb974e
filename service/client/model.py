"""A published model: its versions and aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.client.comparison import Comparison, compare
from service.client.served_model import ServedModel
from service.domain.model import CHAMPION, AliasMoved, ModelAlias, ModelVersion, ModelVersionSummary
from service.domain.model import Model as State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.client.job import Job
    from service.client.transport import Transport


class Model(ServedModel):
    """A model: has the methods of `ServedModel`, for its alias `champion`; `at` has those of other versions.

    Of a model that `Client.fit` or `Sweep.published` returns, they are for the version that was published, and stay it.
    `address` says which. `state` is the model's last known state, updated by `refresh()` and by moves of aliases.
    """

    def __init__(self, transport: Transport, state: State, version: int | None = None) -> None:
        super().__init__(transport, state.name if version is None else f"{state.name}:{version}")
        self.state = state
        self._version = version
        self._model_path = f"/v1/models/{state.name}"

    def __repr__(self) -> str:
        aliases = ", ".join(f"{alias.alias} -> {alias.version}" for alias in self.state.aliases)
        return f"<Model {self.address}: {self.state.versions} versions, {aliases or 'no aliases'}>"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.state.name

    def refresh(self) -> Model:
        """Update `state`."""
        self.state = State.model_validate(self._transport.json("GET", self._model_path))
        return self

    def versions(self) -> Iterator[ModelVersionSummary]:
        """The versions, newest first, without their members."""
        return map(ModelVersionSummary.model_validate, self._transport.pages(f"{self._model_path}/versions", {}))

    def version(self, number: int | None = None) -> ModelVersion:
        """A version with its members and their lineage; raises LookupError if there is none.

        Default: the one that predicts, of a model from `Client.fit` or `Sweep.published`, else the newest.
        """
        chosen = number or self._version or self.state.latest
        if chosen is None:
            raise LookupError(f"the model {self.name!r} has no versions")
        return ModelVersion.model_validate(self._transport.json("GET", f"{self._model_path}/versions/{chosen}"))

    def compare(self, job: Job, version: int | None = None) -> Comparison | None:
        """A version, by default the one that `version()` gives, compared with a job on rows held out from both.

        None if there are no such rows. Raises ApiError where predictions were not kept, or jobs have been deleted.
        """
        members = {f"/v1/jobs/{member.job}": member.weight for member in self.version(version).members}
        return compare(self._transport, members, f"/v1/jobs/{job.id}")

    def promote(self, version: int, alias: str = CHAMPION, *, expected: int | None = None) -> ModelAlias:
        """Point an alias to a version, atomically.

        `expected`: only if it points to this version now; otherwise ApiError with the status 409.
        """
        body = {"version": version} | ({} if expected is None else {"expected": expected})
        moved = ModelAlias.model_validate(self._transport.json("PUT", f"{self._model_path}/aliases/{alias}", json=body))
        self.refresh()
        return moved

    def rollback(self, alias: str = CHAMPION) -> ModelAlias:
        """Move an alias back to the version before; raises LookupError if there is none."""
        now = ModelAlias.model_validate(self._transport.json("GET", f"{self._model_path}/aliases/{alias}"))
        if now.previous is None:
            raise LookupError(f"the alias {alias!r} of {self.name!r} has no version to roll back to")
        return self.promote(now.previous, alias, expected=now.version)

    def history(self, alias: str = CHAMPION) -> Iterator[AliasMoved]:
        """The moves of an alias, newest first: who, when, from where and to where."""
        return map(AliasMoved.model_validate, self._transport.pages(f"{self._model_path}/aliases/{alias}/history", {}))

    def at(self, which: str | int) -> ServedModel:
        """The version that an alias points to, or the version with this number; the model itself is `champion`."""
        return ServedModel(self._transport, self.name + (f":{which}" if isinstance(which, int) else f"@{which}"))

    def delete_alias(self, alias: str) -> None:
        """Delete an alias; the version that it points to stays."""
        self._transport.delete(f"{self._model_path}/aliases/{alias}")
        self.refresh()

    def delete_version(self, number: int) -> None:
        """Delete a version that no alias points to."""
        self._transport.delete(f"{self._model_path}/versions/{number}")
        self.refresh()

    def delete(self) -> None:
        """Delete the model with all its versions; it must have no alias."""
        self._transport.delete(self._model_path)
