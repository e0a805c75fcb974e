"""Files of versions of models: one of each kind, counted, and collected with their version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.domain.access import DEFAULT_TENANT
from service.domain.model import ModelVersion
from service.domain.version_file import VersionFile, VersionFileKind
from service.errors import NotFound
from service.maintenance.doctor import Doctor
from service.store import usage
from service.store.engine import Database
from service.store.maintenance import garbage
from service.store.maintenance.artifact_refs import collectable
from service.store.models import version_files
from tests.api.job_factory import JobFactory
from tests.processes import until
from tests.store.test_models import delete_version


def report(database: Database, version: ModelVersion, number: int) -> VersionFile:
    with database.reading(DEFAULT_TENANT) as connection:
        path = f"{version_files.folder(connection, version.model, version.version)}/report-{number}.json"
    return VersionFile(kind=VersionFileKind.report, sha256=f"{number:064}", size_bytes=number, path=path)


def replace(database: Database, version: ModelVersion, file: VersionFile) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        version_files.replace(connection, version.model, version.version, file)


def found(database: Database, version: ModelVersion) -> VersionFile | None:
    with database.reading(DEFAULT_TENANT) as connection:
        return version_files.find(connection, version.model, version.version, VersionFileKind.report)


def test_a_file_replaces_the_earlier_one_of_its_kind(database: Database, job_factory: JobFactory) -> None:
    version = job_factory.published()
    one, two = (report(database, version, number) for number in (1, 2))
    profile = one.model_copy(update={"kind": VersionFileKind.profile, "path": f"{one.path}.profile"})

    for file in (one, profile, two, two):
        replace(database, version, file)

    assert found(database, version) == two
    with database.reading() as connection:
        assert garbage.marks(connection, [one.path, two.path, profile.path]).keys() == {one.path}


def test_files_count_as_bytes_until_their_version_is_deleted(database: Database, job_factory: JobFactory) -> None:
    def stored() -> int:
        with database.reading(DEFAULT_TENANT) as connection:
            return usage.read(connection).stored.job_files

    before, version = stored(), job_factory.published()
    file = report(database, version, 7)
    replace(database, version, file)

    assert stored() == before + 7
    with database.reading() as connection:
        assert collectable(connection, [file.path]) == set()

    delete_version(database, version)

    assert stored() == before
    with database.reading() as connection:
        assert collectable(connection, [file.path]) == {file.path}
        assert file.path in garbage.marks(connection, [file.path])


def test_a_deleted_version_gets_no_file(database: Database, job_factory: JobFactory) -> None:
    version = job_factory.published()
    file = report(database, version, 1)
    delete_version(database, version)

    with pytest.raises(NotFound):
        replace(database, version, file)


def test_another_tenant_finds_no_file(database: Database, job_factory: JobFactory) -> None:
    version = job_factory.published()
    replace(database, version, report(database, version, 1))

    with database.reading("another") as connection, pytest.raises(NotFound):
        version_files.find(connection, version.model, version.version, VersionFileKind.report)


def test_the_doctor_verifies_files_of_versions(database: Database, job_factory: JobFactory) -> None:
    version = job_factory.published()
    file = report(database, version, 2)
    replace(database, version, file)

    def problems() -> list[str]:
        return [str(each) for each in Doctor(job_factory.database, job_factory.artifacts).examine()]

    (missing,) = [line for line in problems() if "of its report" in line]
    job_factory.artifacts.put(file.path, b"{}")
    (corrupt,) = [line for line in problems() if "of its report" in line]

    named = f"model {version.model}:{version.version}: the file of its report"
    remedy = "nothing to do: the next request builds it again"
    assert missing == f"{named} is missing ({file.path}); {remedy}"
    assert corrupt == f"{named} is corrupt: its SHA-256 differs ({file.path}); {remedy}"
    assert file.path in [each.key for each in job_factory.artifacts.files()]


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_two_processes_that_store_the_same_kind_of_file_wait_for_each_other(
    database: Database, job_factory: JobFactory
) -> None:
    version = job_factory.published()
    one, two = (report(database, version, number) for number in (1, 2))

    def waits() -> bool:
        with database.reading() as connection:
            return bool(connection.exec_driver_sql("SELECT 1 FROM pg_locks WHERE NOT granted").all())

    with ThreadPoolExecutor(1) as other:
        with database.transaction(DEFAULT_TENANT) as connection:
            version_files.replace(connection, version.model, version.version, one)
            second = other.submit(replace, database, version, two)
            until(waits)
        second.result()

    assert found(database, version) == two
