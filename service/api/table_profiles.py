"""The profile of the table that a spec trains on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import InvalidSpec, NotFound
from service.spec.data import DatasetData
from service.spec.resolve import profile_of
from service.store import datasets

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.spec.job import JobSpec
    from service.spec.table import TableProfile


def profile_for(context: RequestContext, spec: JobSpec) -> TableProfile:
    """The profile of the data of `spec`; raises InvalidSpec for an unknown data set."""
    if not isinstance(spec.data, DatasetData):
        return profile_of(spec.data)
    try:
        with context.database.reading() as connection:
            return datasets.get(connection, spec.data.id).profile
    except NotFound as error:
        raise InvalidSpec.at("/data/id", error.detail) from error
