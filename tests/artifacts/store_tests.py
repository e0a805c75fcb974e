"""What every artifact store must do; subclasses give the fixture `store`."""

from __future__ import annotations

import hashlib
import threading

import pytest

from service.artifacts import Artifacts, File
from service.artifacts.objects import PART_BYTES
from service.errors import StorageError

KEY = "checkpoints/job_1/1-best-3.safetensors"
LARGE = bytes(range(256)) * (PART_BYTES // 256) + b"more than one part"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(store: Artifacts, data: bytes, key: str = KEY) -> bytes:
    """What a caller finds that expects `data` at the key."""
    return store.path(key, sha256(data)).read_bytes()


class StoreTests:
    @pytest.mark.parametrize("data", [b"", b"weights", LARGE], ids=["empty", "small", "large"])
    def test_a_stored_file_can_be_read_by_its_sha256(self, store: Artifacts, data: bytes) -> None:
        store.put(KEY, data)

        assert read(store, data) == data
        assert (store.size(KEY), store.sha256(KEY)) == (len(data), sha256(data))

    @pytest.mark.parametrize("data", [b"", b"rows", LARGE], ids=["empty", "small", "large"])
    def test_a_file_from_scratch_is_adopted(self, store: Artifacts, data: bytes) -> None:
        with store.scratch() as folder:
            (folder / "upload").write_bytes(data)
            store.adopt(folder / "upload", "datasets/ds_1/data.parquet")

        assert not folder.exists()
        assert read(store, data, "datasets/ds_1/data.parquet") == data

    @pytest.mark.parametrize("data", [b"weights", LARGE], ids=["small", "large"])
    def test_storing_the_same_bytes_again_succeeds(self, store: Artifacts, data: bytes) -> None:
        for _ in range(2):
            store.put(KEY, data)

        assert read(store, data) == data

    @pytest.mark.parametrize("size", [10, PART_BYTES + 1], ids=["small", "large"])
    def test_a_file_is_replaced_on_demand(self, store: Artifacts, size: int) -> None:
        store.put(KEY, b"o" * size)
        store.put(KEY, b"n" * size, replace=True)

        assert read(store, b"n" * size) == b"n" * size

    def test_a_missing_file_has_a_path_that_does_not_exist(self, store: Artifacts) -> None:
        assert not store.path(KEY, sha256(b"weights")).exists()
        assert store.size(KEY) is None
        with pytest.raises(FileNotFoundError):
            store.sha256(KEY)

    def test_files_are_listed_by_key_and_others_are_ignored(self, store: Artifacts) -> None:
        keys = [f"checkpoints/job_{number}/best" for number in range(5)] + ["datasets/ds_1/data.parquet", "models/m/1"]
        for key in keys:
            store.put(key, key.encode())
        store.put("checkpoints/of_nobody", b"x")
        store.put("elsewhere/job_1/best", b"x")
        store.set_deployment_id("dep_1")

        assert sorted(store.files(), key=lambda file: file.key) == [File(key, len(key)) for key in sorted(keys)]
        assert list(store.trash()) == []

    def test_files_in_the_trash_keep_their_key_and_can_be_deleted(self, store: Artifacts) -> None:
        store.put(KEY, b"x")
        store.put("checkpoints/job_2/best", b"yy")

        for _ in range(2):
            assert store.move_to_trash(KEY)

        assert list(store.files()) == [File("checkpoints/job_2/best", 2)]
        assert list(store.trash()) == [File(f"trash/{KEY}", 1)]
        for _ in range(2):
            assert store.delete(f"trash/{KEY}")
        assert list(store.trash()) == []

    def test_deleting_is_idempotent(self, store: Artifacts) -> None:
        store.put(KEY, b"x")

        assert [store.delete(KEY), store.delete(KEY)] == [True, True]
        assert store.size(KEY) is None

    def test_the_deployment_id_is_stored_once_and_replaced_on_demand(self, store: Artifacts) -> None:
        assert store.deployment_id() is None

        store.set_deployment_id("dep_1")
        store.set_deployment_id("dep_1")
        assert store.deployment_id() == "dep_1"
        store.check()

        store.set_deployment_id("dep_2", replace=True)
        assert store.deployment_id() == "dep_2"

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b"])
    def test_keys_cannot_escape_the_store(self, store: Artifacts, key: str) -> None:
        with pytest.raises(ValueError, match="not an artifact key"):
            store.path(key, sha256(b""))

    def test_threads_read_the_same_files_at_once(self, store: Artifacts) -> None:
        contents = [bytes([number]) * 100_000 for number in range(8)]
        for number, data in enumerate(contents):
            store.put(f"jobs/job_{number}/predictions", data)
        found: list[bool] = []

        def work() -> None:
            for number, data in enumerate(contents):
                found.append(read(store, data, f"jobs/job_{number}/predictions") == data)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert found == [True] * 32


class ObjectStoreTests(StoreTests):
    """What an object store does beyond a folder."""

    @pytest.mark.parametrize("size", [10, PART_BYTES + 1], ids=["small", "large"])
    def test_another_file_at_the_key_stays(self, store: Artifacts, size: int) -> None:
        store.put(KEY, b"f" * size)

        with pytest.raises(StorageError, match="another file"):
            store.put(KEY, b"s" * size)

        assert read(store, b"f" * size) == b"f" * size

    def test_an_object_that_was_changed_is_as_good_as_missing(self, store: Artifacts) -> None:
        store.put(KEY, b"changed")

        assert not store.path(KEY, sha256(b"weights")).exists()
        assert read(store, b"changed") == b"changed"

    def test_a_file_is_read_from_the_cache_after_its_object_is_gone(self, store: Artifacts) -> None:
        store.put(KEY, b"weights")
        path = store.path(KEY, sha256(b"weights"))

        store.delete(KEY)

        assert store.path(KEY, sha256(b"weights")) == path
        assert path.read_bytes() == b"weights"
