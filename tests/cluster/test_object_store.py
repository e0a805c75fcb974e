"""Artifacts in S3 (moto's server), also behind a proxy that injects faults: nothing is lost, corrupt or double."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.artifacts import Artifacts, ArtifactsConfig, File, open_artifacts
from service.artifacts import objects as objects_module
from service.artifacts import retries as retries_module
from service.artifacts.objects import PART_BYTES
from service.errors import Misconfigured, StorageError, Unavailable
from tests.artifacts.store_tests import KEY, LARGE, ObjectStoreTests, read, sha256
from tests.object_store import BUCKET, ENVIRONMENT, FAULTS, FaultProxy, Outage, at_random, s3_port
from tests.processes import linux_only

Open = Callable[[], Artifacts]


@pytest.fixture
def url() -> str:
    return f"s3://{BUCKET}/{secrets.token_hex(8)}"


@pytest.fixture
def machine(proxy: FaultProxy, url: str, tmp_path: Path) -> Open:
    """Opens the store with an empty cache, as another machine does."""
    return lambda: open_artifacts(ArtifactsConfig(tmp_path / secrets.token_hex(4), url, None, 2**30))


@pytest.fixture
def store(machine: Open) -> Artifacts:
    return machine()


class TestS3(ObjectStoreTests):
    pass


class TestS3WithFaults(ObjectStoreTests):
    """Every fourth request fails in one of six ways."""

    @pytest.fixture
    def store(self, machine: Open, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Artifacts]:
        monkeypatch.setattr(retries_module, "RETRY_SECONDS", 60.0)
        proxy.choose = at_random(0.25)
        yield machine()
        proxy.choose = lambda _method, _path: None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("data", [b"weights", LARGE], ids=["small", "large"])
def test_a_file_is_whole_after_each_kind_of_fault_at_each_request(
    machine: Open, proxy: FaultProxy, fault: str, data: bytes
) -> None:
    seen: Counter[tuple[str, str]] = Counter()

    def first_try_fails(method: str, path: str) -> str | None:
        seen[method, path] += 1
        return fault if seen[method, path] == 1 else None

    proxy.choose = first_try_fails

    machine().put(KEY, data)

    assert read(machine(), data) == data
    assert list(machine().files()) == [File(KEY, len(data))]


@pytest.mark.parametrize("fault", ["error", "error after"])
@pytest.mark.parametrize("replace", [False, True])
def test_a_large_file_is_sent_again_if_it_fails_later_than_small_ones_are_retried(
    machine: Open, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str, replace: bool
) -> None:
    if replace:
        machine().put(KEY, b"older" * PART_BYTES)
    monkeypatch.setattr(retries_module, "RETRY_SECONDS", 0.0)
    failing = iter([fault] * 5)  # the tries of one completion
    proxy.choose = lambda method, path: next(failing, None) if method == "POST" and "uploadId" in path else None
    (tmp_path / "file").write_bytes(LARGE)

    machine().adopt(tmp_path / "file", KEY, replace=replace)

    assert next(failing, None) is None
    assert read(machine(), LARGE) == LARGE
    assert list(machine().files()) == [File(KEY, len(LARGE))]


def test_a_lost_answer_to_a_write_is_not_a_conflict(store: Artifacts, machine: Open, proxy: FaultProxy) -> None:
    lost = iter(["lost response"])
    proxy.choose = lambda method, _path: next(lost, None) if method == "PUT" else None

    store.put(KEY, b"weights")

    assert next(fault for method, _, fault in proxy.requests if method == "PUT") == "lost response"
    assert read(machine(), b"weights") == b"weights"


def test_of_two_writers_of_one_key_one_is_refused(machine: Open) -> None:
    """Not for large files: their keys have one writer."""
    stores, refused = [machine(), machine()], []

    def write(number: int) -> None:
        try:
            stores[number].put(KEY, bytes([number]) * 1_000)
        except StorageError:
            refused.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (loser,) = refused
    winner = bytes([1 - loser]) * 1_000
    assert read(machine(), winner) == winner


def test_an_outage_is_unavailable_and_passes(
    store: Artifacts, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(KEY, b"weights")
    proxy.choose = outage = Outage()
    monkeypatch.setattr(retries_module, "RETRY_SECONDS", 0.2)
    outage.down = True

    with pytest.raises(Unavailable, match="does not answer"):
        store.path(KEY, sha256(b"weights"))
    with pytest.raises(Unavailable):
        store.put("jobs/job_1/report", b"x")
    with pytest.raises(Unavailable):
        list(store.files())
    assert not store.delete(KEY)
    assert not store.move_to_trash(KEY)
    with pytest.raises(Unavailable):
        store.check()

    outage.down = False
    assert read(store, b"weights") == b"weights"


def test_a_download_goes_on_where_the_connection_broke(
    store: Artifacts, machine: Open, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(KEY, LARGE)
    monkeypatch.setattr(retries_module, "RETRY_SECONDS", 0.0)
    cuts = iter(["cut response"] * 3)
    proxy.choose = lambda method, _path: next(cuts, None) if method == "GET" else None
    ranges: list[int] = []
    real = objects_module.ObjectArtifacts._read_on

    def noting(self: objects_module.ObjectArtifacts, key: str, file: object, digest: object) -> None:
        ranges.append(file.tell())  # type: ignore[attr-defined]
        real(self, key, file, digest)  # type: ignore[arg-type]

    monkeypatch.setattr(objects_module.ObjectArtifacts, "_read_on", noting)

    assert read(machine(), LARGE) == LARGE
    assert ranges == sorted(ranges)
    assert all(offset > PART_BYTES // 4 for offset in ranges[1:])


def test_a_file_that_is_replaced_while_it_is_read_is_not_mixed_with_the_other_one(
    store: Artifacts, proxy: FaultProxy
) -> None:
    store.put(KEY, LARGE)
    cuts = iter(["cut response"])
    proxy.choose = lambda method, _path: next(cuts, None) if method == "GET" else None

    chunks = store.chunks(KEY)
    begun = next(chunks)
    store.put(KEY, LARGE[::-1], replace=True)

    assert LARGE.startswith(begun)
    with pytest.raises(FileNotFoundError, match="was replaced while it was read"):
        list(chunks)


MEMORY_OF_ADOPTING = """
import sys
from pathlib import Path
from service.artifacts import ArtifactsConfig, open_artifacts

def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

store = open_artifacts(ArtifactsConfig(Path(sys.argv[1]), sys.argv[2], None, 0))
store.put("checkpoints/job_1/small", b"x")  # the connection is open
for number, size in enumerate((16 * 1024**2, 60 * 10**6)):
    with store.scratch() as folder:
        with (folder / "file").open("wb") as file:
            for _ in range(0, size, 1024**2):
                file.write(bytes(1024**2))
            file.truncate(size)
        before = kilobytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        store.adopt(folder / "file", f"datasets/ds_{number}/data.parquet")
        print(kilobytes("VmHWM") - before)
"""


@linux_only
def test_storing_a_file_takes_little_memory(url: str, tmp_path: Path) -> None:
    environment = {**os.environ, **ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port()}"}

    command = [sys.executable, "-c", MEMORY_OF_ADOPTING, str(tmp_path), url]
    grown = subprocess.check_output(command, env=environment, text=True).split()

    assert [int(each) < 20_000 for each in grown] == [True, True], grown


def test_more_files_than_a_page_of_a_listing(store: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects_module, "PAGE", 3)
    keys = [f"checkpoints/job_{number:02}/best" for number in range(10)]
    for key in keys:
        store.put(key, b"x")

    assert [file.key for file in store.files()] == keys


def test_a_file_is_downloaded_by_a_url_that_expires(store: Artifacts) -> None:
    store.put(KEY, b"weights")

    url = store.url(KEY, 60)

    assert url is not None
    with urllib.request.urlopen(url) as response:
        assert response.read() == b"weights"


def test_a_missing_bucket_is_unavailable_and_no_lost_file(proxy: FaultProxy, tmp_path: Path) -> None:
    store = open_artifacts(ArtifactsConfig(tmp_path, "s3://no-such-bucket/x", None, 100))

    with pytest.raises(Unavailable, match="bucket does not exist"):
        store.path(KEY, sha256(b"weights"))
    with pytest.raises(Unavailable, match="bucket does not exist"):
        store.put(KEY, b"weights")


def test_credentials_are_read_from_a_file(
    proxy: FaultProxy, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name)
    secret = tmp_path / "secret"
    secret.write_text("# of a test\nAWS_ACCESS_KEY_ID=from-a-file\nAWS_SECRET_ACCESS_KEY = x\nAWS_REGION=us-east-1\n")

    store = open_artifacts(ArtifactsConfig(tmp_path / "cache", url, secret, 100))
    store.put(KEY, b"weights")

    assert "from-a-file" in str(store.url(KEY, 60))
    assert read(store, b"weights") == b"weights"


@pytest.mark.parametrize("text", ["AWS_REGION", "=x", "NO_SUCH_OPTION=1"])
def test_wrong_credentials_files_are_refused(url: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "secret").write_text(text)

    with pytest.raises(Misconfigured, match="cannot be opened"):
        open_artifacts(ArtifactsConfig(tmp_path / "cache", url, tmp_path / "secret", 100))
