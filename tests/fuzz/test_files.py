"""Files that are nearly right: cut, spliced, repeated, flipped. Each is read, or refused with a 4xx that says why."""

from __future__ import annotations

import gzip
import json
import time

import numpy as np
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.data.files import npy, npz, parquet, zipped
from tests.data.image_files import coloured, png
from tests.fuzz import many

SECONDS = 30.0  # of one file, on a machine with other things to do
CSV = "name,size,day,kind\n" + "".join(f"n{i},{i}.5,2024-01-{i % 28 + 1:02},{'ab'[i % 2]}\n" for i in range(40))
CSV_BYTES = CSV.encode()


SEEDS: dict[str, bytes] = {
    "csv": CSV_BYTES,
    "tsv": CSV_BYTES.replace(b",", b"\t"),
    "jsonl": b"".join(json.dumps({"a": i, "b": i / 3, "c": "xyz"[i % 3]}).encode() + b"\n" for i in range(40)),
    "parquet": parquet("SELECT i AS a, i / 3 AS b, 'x' || (i % 3) AS c FROM range(50) t(i)"),
    "npz": npz(x=np.arange(60.0).reshape(20, 3), y=np.arange(20) % 2),
    "npy": npy(np.arange(60.0).reshape(20, 3)),
    "images": zipped({f"{'ab'[i % 2]}/{i}.png": png(coloured(8, 8, i * 40, "L")) for i in range(6)}),
    "csv.gz": gzip.compress(CSV_BYTES, mtime=0),
    "csv.zst": zstd.compress(CSV_BYTES),
}
WORDS = ["\0", '"', '""', ",", "\n", "\r\n", "nan", "1e400", "{", "[" * 500, "-", "9" * 400]
TELLING = [b"\xff\xfe", b"\xef\xbb\xbf", *(word.encode() for word in WORDS)]


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """A right file with up to four things done to it."""
    data = SEEDS[draw(st.sampled_from(sorted(SEEDS)))]
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        match draw(st.sampled_from(["cut", "drop", "repeat", "write", "flip", "splice"])):
            case "cut":
                data = data[:end]
            case "drop":
                data = data[:start] + data[end:]
            case "repeat":
                data = data[:end] + data[start:end] * draw(st.integers(1, 5)) + data[end:]
            case "write":
                data = data[:start] + draw(st.sampled_from(TELLING) | st.binary(max_size=20)) + data[start:]
            case "flip" if start < len(data):
                data = data[:start] + bytes([data[start] ^ draw(st.integers(1, 255))]) + data[start + 1 :]
            case "splice":
                data = data[:start] + SEEDS[draw(st.sampled_from(sorted(SEEDS)))][start:]
    return data[:90_000]


def test_no_file_crashes_or_hangs_the_reader(client: TestClient) -> None:
    read = list[bool]()

    @given(data=nearly())
    @many()
    def answered(data: bytes) -> None:
        began = time.monotonic()
        answer = client.post("/v1/datasets", content=data)
        assert time.monotonic() - began < SECONDS
        assert answer.status_code in (200, 201, 413, 422), (answer.status_code, answer.text, data)
        if answer.status_code >= 400:
            assert answer.json()["detail"]
            assert "Traceback" not in answer.text
        else:
            preview = client.get(f"/v1/datasets/{answer.json()['id']}/preview")
            assert preview.status_code == 200, preview.text
        read.append(answer.status_code < 400)

    answered()
    assert 0.05 < sum(read) / len(read) < 0.95  # neither all right nor all wrong
