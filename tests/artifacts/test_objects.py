"""Artifacts in an object store, here one in memory; tests/cluster has the same tests over HTTP, with faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from service.artifacts.cache import FileCache
from service.artifacts.objects import ObjectArtifacts
from tests.artifacts.store_tests import ObjectStoreTests


class TestMemoryStore(ObjectStoreTests):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectArtifacts:
        return ObjectArtifacts(MemoryStore(), "memory://", FileCache(tmp_path / "cache", 2**30))
