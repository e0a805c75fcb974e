"""Files of every format as bytes, valid and invalid."""

from __future__ import annotations

import gzip
import io
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from backports import zstd


def parquet(select: str) -> bytes:
    """The rows of an SQL query as a Parquet file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.parquet"
        duckdb.sql(select).write_parquet(str(path), row_group_size=2_048)
        return path.read_bytes()


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(save: Callable[..., None] = np.savez, **arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def with_header(header: str, values: bytes = b"") -> bytes:
    """An NPY file with any header at all."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values


def header(descr: str = "'<f8'", shape: str = "(3,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


X = np.arange(12.0).reshape(6, 2)
CSV = b"a,b\n1,x\n2,y\n"
ROWS = parquet("SELECT range AS a, 'x' || range AS b FROM range(5000)")
BOMB = b"a,b\n" + b"1,2\n" * 5_000_000

FAULTS: dict[str, tuple[bytes, str]] = {
    "gzip that is cut off": (gzip.compress(CSV * 999)[:-9], "the gzip file is cut off"),
    "gzip that is damaged": (gzip.compress(CSV)[:-8] + bytes(8), "the gzip file is damaged: CRC check failed"),
    "gzip with something behind it": (gzip.compress(CSV) + b"junk", "the gzip file is damaged"),
    "zstd that is cut off": (zstd.compress(CSV * 999)[:-3], "the zstd file is cut off"),
    "zstd that is damaged": (zstd.compress(CSV)[:6] + b"\xff" * 30, "the zstd file is damaged"),
    "gzip in zstd": (zstd.compress(gzip.compress(CSV)), "compressed more than once"),
    "gzip of nothing": (gzip.compress(b""), "the file is empty"),
    "an Excel workbook": (zipped({"xl/workbook.xml": b"<x/>"}), "an Excel workbook: save the sheet as CSV"),
    "a pickle": (b"\x80\x04\x95\x10\x00", "a Python pickle, which is never opened"),
    "an Arrow file": (b"ARROW1\x00\x00", "an Arrow file"),
    "Parquet cut at its end": (ROWS[:-10], "No magic bytes found at end of file"),
    "Parquet cut at its start": (ROWS[:10], "too small to be a Parquet file"),
    "Parquet that is nested": (
        parquet("SELECT 1 AS a, {'x': [1]} AS s"),
        "column 's' has the type STRUCT(x INTEGER[])",
    ),
    "Parquet with lists": (parquet("SELECT [1] AS l, 1 AS a"), "column 'l' has the type INTEGER[]: only flat columns"),
    "Parquet with bytes": (parquet("SELECT 'a'::BLOB AS z"), "column 'z' has the type BLOB"),
    "Parquet without rows": (parquet("SELECT 1 AS a WHERE false"), "the Parquet file has no rows"),
    "Parquet with NUL in a text": (parquet("SELECT 'a' || chr(0) AS t"), "column 't' contains text with a NUL"),
    "JSON cut off": (b'{"a":1}\n{"a":\n', "line 2, column 6 is not JSON"),
    "JSON that is an array": (b'[{"a":1}]', "a JSON array: write one JSON object a line"),
    "JSON that is no object": (b'{"a":1}\n5\n', "line 2 is no JSON object"),
    "JSON with a list": (b'{"a":1}\n\n{"a":[1]}\n', "line 3, key 'a' holds a list"),
    "JSON with an object": (b'{"a":{"b":1}}\n', "line 1, key 'a' holds an object"),
    "JSON of depth 10,000": (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "line 1 is nested too deeply"),
    "JSON with NaN": (b'{"a":1}\n{"a":NaN}\n', "line 2: NaN is no JSON"),
    "JSON with 1e400": (b'{"a":1e400}', "line 1, key 'a': the number is too large"),
    "JSON with 5,000 digits": (b'{"a":' + b"1" * 5_000 + b"}", "line 1 holds a number of too many digits"),
    "JSON with a key twice": (b'{"a":1,"a":2}', "line 1: key 'a' is duplicated"),
    "JSON with keys that differ in case": (b'{"a":1,"A":2}', "'a' and 'A' differ only in case"),
    "JSON with an empty key": (b'{"":1}', "column 1 has no name"),
    "JSON without keys": (b"{}\n{}\n", "the objects of the file have no keys"),
    "JSON with 100,000 keys": (b'{"a":1' + b"".join(b',"k%d":1' % i for i in range(100_000)) + b"}", "at most 10,000"),
    "JSON with NUL": (b'{"a":"\\u0000"}', "line 1, key 'a': the text contains NUL"),
    "JSON with half a character": (b'{"a":"\\ud800"}', "line 1, key 'a'"),
    "JSON with a long line": (b'{"a":"' + b"x" * 3_000_000 + b'"}', "line 1 is longer than 2,000,000 characters"),
    "JSON that is not UTF-8": (b'{"a":"\x81\xff"}', "neither UTF-8 nor Windows-1252"),
    "NPY of objects": (npy(np.array([{}, 1], dtype=object), allow_pickle=True), "Python objects, which are never"),
    "NPY with fields": (npy(np.zeros(3, dtype=[("a", "f4")])), "a structured array"),
    "NPY of complex numbers": (npy(np.zeros(3, complex)), "the dtype '<c16'"),
    "NPY of texts": (npy(np.array(["a"])), "X must be numeric"),
    "NPY without rows": (npy(np.zeros((0, 3))), "the shape (0, 3)"),
    "NPY that is one number": (npy(np.float64(3)), "the shape ()"),
    "NPY with 100,000 columns": (npy(np.zeros((1, 100_000), "i1")), "rows of 100,000 values; at most 10,000"),
    "NPY cut off": (npy(X)[:-8], "the header tells of 96 bytes (shape (6, 2)), but 88 follow"),
    "NPY cut in its header": (npy(X)[:20], "the header is damaged"),
    "NPY with a forged shape": (with_header(header(shape="(999999999999, 999999999999)")), "the header tells of"),
    "NPY with a negative shape": (with_header(header(shape="(-3,)"), bytes(24)), "the header is damaged"),
    "NPY with a shape beyond words": (with_header(header(shape=f"({'9' * 900},)")), "an impossible shape"),
    "NPY with 100 dimensions": (with_header(header(shape=f"({'1, ' * 100})"), bytes(8)), "an impossible shape"),
    "NPY with a huge header": (npy(X)[:8] + b"\xff\xff" + npy(X)[10:], "the header claims 65,535 bytes"),
    "NPY with code in its header": (with_header("__import__('os').abort()"), "the header is damaged"),
    "NPY of another version": (b"\x93NUMPY\x09\x00" + npy(X)[8:], "no NPY file of version 1, 2 or 3"),
    "NPZ without X": (npz(foo=X), "no array is called X, x or data; there are: 'foo'"),
    "NPZ with two Xs": (npz(x=X, X=X), "the arrays 'X' and 'x' could each be x"),
    "NPZ with y of other rows": (npz(x=X, y=np.arange(5)), "the shape (5,): one value for each of the 6 rows"),
    "NPZ with objects": (npz(x=X, y=np.array([{}] * 6, dtype=object)), "array 'y' holds Python objects"),
    "NPZ with a path upwards": (zipped({"../x.npy": npy(X)}), "the zip archive holds '../x.npy'"),
    "NPZ with an absolute path": (zipped({"/x.npy": npy(X)}), "the zip archive holds '/x.npy'"),
    "NPZ with other files": (zipped({"x.npy": npy(X), "run.py": b""}), "the zip archive holds 'run.py'"),
    "NPZ of another compression": (zipped({"x.npy": npy(X)}, zipfile.ZIP_LZMA), "compressed by other than deflate"),
    "NPZ cut off": (npz(x=X)[:-30], "the zip archive is damaged"),
    "NPZ with a hole": (npz(x=X)[:10] + npz(x=X)[40:], "an offset is out of range"),
    "NPZ that is damaged": (npz(x=X).replace(X.tobytes(), bytes(96)), "the zip archive is damaged: Bad CRC"),
}
