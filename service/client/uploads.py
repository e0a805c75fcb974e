"""Upload bodies from what Python holds data in: a path, bytes, a DataFrame, or arrays; and answers as arrays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.client.optional_imports import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pandas import DataFrame

    from service.domain.epoch import Epoch

CHUNK_BYTES = 1024**2
CHUNK_ROWS = 1_000
DECISION = ("improved", "is_best", "wait", "closeness", "reason")
HISTORY_TYPES = {"epoch": "int64", "improved": "bool", "is_best": "bool", "wait": "int64", "reason": "str"}


def as_file(data: Any) -> tuple[Any, str | None]:
    """The request body, as bytes or an iterable of chunks, and the file name if there is one.

    `data`: a path; bytes; a pandas or polars DataFrame; a 2-d array; or (X, y), whose columns are x0, x1, ... and y.
    Raises OSError, and ImportError for arrays without NumPy.
    """
    if isinstance(data, str | Path):
        path = Path(data)
        return _FileChunks(path), path.name
    if isinstance(data, bytes):
        return data, None
    if hasattr(data, "write_csv"):  # polars
        return data.write_csv().encode(), None
    if hasattr(data, "to_csv"):  # pandas
        return data.to_csv(index=False).encode(), None
    return _arrays(data), None


def _arrays(data: Any) -> bytes:
    with needs("uploading arrays or lists", "NumPy", "numpy"):
        import numpy as np

    file = io.BytesIO()
    if isinstance(data, tuple):
        x, y = (np.asarray(part) for part in data)
        np.savez(file, x=x, y=y.astype(str) if y.dtype == object else y)
    else:
        np.save(file, np.asarray(data))
    return file.getvalue()


class _FileChunks:
    """A file's bytes in chunks; each iteration starts over, since a request may be retried."""

    def __init__(self, path: Path) -> None:
        path.stat()  # fail now if the file does not exist
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


class CsvRows:
    """A (rows, columns) array as chunks of a CSV file with the columns x0, x1, ...; NaN is a missing value."""

    def __init__(self, x: NDArray[Any]) -> None:
        self._x = x

    def __iter__(self) -> Iterator[bytes]:
        yield (",".join(f"x{number}" for number in range(self._x.shape[1])) + "\n").encode()
        for start in range(0, len(self._x), CHUNK_ROWS):
            rows = self._x[start : start + CHUNK_ROWS].tolist()
            yield "".join(",".join(map(repr, row)) + "\n" for row in rows).encode()


def json_rows(x: NDArray[Any]) -> list[list[float | None]]:
    """The rows of an array as lists, NaN as None."""
    return [[None if value != value else value for value in row] for row in x.tolist()]


def columns_of_csv(content: bytes, names: list[str]) -> NDArray[Any]:
    """(rows, names) the numbers in these columns of a CSV file of predictions, NaN where empty."""
    import numpy as np

    header, *lines = content.decode().splitlines()
    positions = [header.split(",").index(name) for name in names]
    rows = (line.split(",") for line in lines)
    return np.array([[float(row[position] or "nan") for position in positions] for row in rows], dtype=np.float64)


def history_frame(epochs: list[Epoch]) -> DataFrame:
    """A DataFrame with a row per epoch and the columns of the service's exports; raises ImportError without pandas."""
    with needs("history(as_frame=True)", "pandas", "bestepoch[pandas]"):
        import pandas
    metrics = dict.fromkeys(name for epoch in epochs for name in epoch.metrics)
    head, tail = ("epoch", "train_loss", "val_loss"), ("lr", "seconds", *DECISION)
    rows = [{**epoch.metrics, **epoch.model_dump(exclude={"metrics", "non_finite"})} for epoch in epochs]
    frame = pandas.DataFrame(rows, columns=[*head, *metrics, *tail])
    return frame.astype({name: HISTORY_TYPES.get(name, "float64") for name in frame.columns})


def predictions_frame(rows: list[dict[str, Any]]) -> DataFrame:
    """A DataFrame with a row per prediction and the columns of the files; raises ImportError without pandas."""
    with needs("predictions(as_frame=True)", "pandas", "bestepoch[pandas]"):
        import pandas
    shares = ({f"probability of {name}": p for name, p in row.get("probabilities", {}).items()} for row in rows)
    columns = ("row", "part", "truth", "prediction")
    flat = [{name: row[name] for name in columns} | own for row, own in zip(rows, shares, strict=True)]
    return pandas.DataFrame(flat)
