"""Invalid files of any format are refused with a message that says what is wrong, and where."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from service.data.staging import ReadLimits
from service.errors import InvalidData, TooLarge
from tests.data.files import BOMB, CSV, FAULTS, ROWS, X, npy, npz, parquet, zipped
from tests.data.image_files import IMAGE_FAULTS, PAINTING, PHOTO, encrypted, grey, png, zip_of
from tests.data.tables import MEMORY, store
from tests.examples import sampled

ALL_FAULTS = {**FAULTS, **IMAGE_FAULTS}


@pytest.mark.parametrize("fault", ALL_FAULTS)
def test_an_invalid_file_is_refused_saying_what_to_fix(tmp_path: Path, fault: str) -> None:
    content, reason = ALL_FAULTS[fault]

    with pytest.raises(InvalidData) as refused:
        store(tmp_path, content)

    assert reason in str(refused.value)
    assert len(str(refused.value)) < 300
    assert str(tmp_path) not in str(refused.value)
    assert not (tmp_path / "table.parquet").exists()


BOMBS = {
    "gzip": gzip.compress(BOMB),
    "zstd": zstd.compress(BOMB),
    "npz": npz(np.savez_compressed, x=np.zeros((2_000_000, 1))),
    "images": zip_of({"cats/2.png": bytes(12_000_000)}),
    "pixels": zip_of({f"cats/{n}.png": png(grey([0] * 10_000)) for n in range(1_000)}),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_decompression_bomb_is_refused_before_it_is_decompressed(tmp_path: Path, kind: str) -> None:
    with pytest.raises(TooLarge, match="decompress"):
        store(tmp_path, BOMBS[kind], ReadLimits(MEMORY, 10_000_000))

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < len(BOMBS[kind]) + 11_000_000


def test_a_zip_member_yields_no_more_than_its_declared_size(tmp_path: Path) -> None:
    honest = zipped({"x.npy": npy(np.zeros(100_000))})
    lying = honest.replace((800_128).to_bytes(4, "little"), (160).to_bytes(4, "little"))
    assert lying != honest

    with pytest.raises(InvalidData, match="damaged"):
        store(tmp_path, lying)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="encrypted"):
        store(tmp_path, encrypted(npz(x=X)))


def test_parquet_with_too_many_values_is_refused_by_its_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.data.formats.parquet.MAX_CELLS", 9_999)

    with pytest.raises(InvalidData, match=r"5,000 rows of 2 columns are more than 9,999 values"):
        store(tmp_path, ROWS)


# In a process of its own: a child counts what its parent held when it was forked.
INGEST = """
import resource, sys
from pathlib import Path
from service.data.processes.runner import Allowance
from service.data.processes.ingest import ingest
from service.spec.read_options import ReadOptions
allowed = Allowance(memory_bytes=2**26, unpacked_bytes=2**20, seconds=120)
found = ingest(Path(sys.argv[1]), Path(sys.argv[2]), ReadOptions(), allowed)
print([column.distinct for column in found.columns], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.e2e
def test_parquet_that_unpacks_to_gigabytes_is_read_in_bounded_memory(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(parquet("SELECT repeat('x', 100000) || (range % 3) AS t, range AS n FROM range(20000)"))
    assert source.stat().st_size < 3_000_000

    command = [sys.executable, "-c", INGEST, str(source), str(tmp_path / "out")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    distinct, kilobytes = printed.rsplit(" ", 1)
    assert distinct == "[3, 20000]"
    assert int(kilobytes) < 400_000


SOUND = {
    "csv": CSV,
    "gzip": gzip.compress(CSV),
    "zstd": zstd.compress(CSV),
    "jsonl": b'{"a":1,"b":"x"}\n' * 9,
    "parquet": ROWS,
    "npz": npz(X=X, y=X[:, 0]),
    "npy": npy(X),
    "images": zip_of({}),
    "stored images": zip_of({"dogs/2.jpg": PHOTO, "dogs/3.png": PAINTING}, zipfile.ZIP_STORED),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOUND)
@sampled(10, 30)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    content = bytearray(SOUND[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = content[: data.draw(st.integers(1, len(content)))] if data.draw(st.booleans()) else content

    try:
        found = store(tmp_path_factory.mktemp("damaged"), bytes(cut))
    except (InvalidData, TooLarge, MemoryError):
        return
    assert found.rows > 0
