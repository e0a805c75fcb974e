"""The data of a spec: its source (data set, synthetic, inline), and the preprocessing of its columns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, FailFast, Field, StringConstraints, Tag, field_validator, model_validator

from service.spec.base import Bool, ColumnName, Float, Int, Seed, Strict, kind_or
from service.spec.capped_errors import CapErrors

MAX_INLINE_VALUES = 20_000
MAX_SYNTHETIC_VALUES = 50_000_000
MIN_WINDOW_ROWS = 1_024
MAX_TEXTS = 10_000
"""Texts of a column that have numbers by their frequency or mean target: the most frequent ones."""
MAX_TEXT_NUMBERS = 200_000
"""Such numbers of a column; where there are many classes, fewer texts have them."""

# A target value: here 1.0 is a float.
Int64 = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]


class Streaming(Strict):
    """Training that reads the prepared rows from a file on the worker's disk, in another random order in each epoch:
    blocks of 256 rows are shuffled, then the rows within a window of blocks. Memory holds a window, not the table."""

    window_rows: Annotated[Int, Field(ge=MIN_WINDOW_ROWS, le=1_000_000_000)] | None = None
    """Rows of a window, rounded down to whole blocks; a larger one shuffles better. Null: as many as take 128 MiB."""


def _streaming_kind(value: object) -> str | None:
    if isinstance(value, (dict, Streaming)):
        return "window"
    return "mode" if value in ("auto", "off") else None


class DatasetData(Strict):
    """Rows of an uploaded data set."""

    kind: Literal["dataset"] = "dataset"
    """Where the rows come from."""
    id: Annotated[str, StringConstraints(strict=True, pattern=r"^ds_[0-9a-z]{1,40}$")]
    """The data set's id."""
    target: ColumnName
    """The column to predict."""
    features: Annotated[list[ColumnName], Field(min_length=1, max_length=10_000), CapErrors()] | None = None
    """The columns used as features, in this order; null: every usable column except the target."""
    weight: ColumnName | None = None
    """A column of sample weights for training: numbers of 0 and more, relative to each other. It is no feature unless
    `features` names it; validation and test rows are not weighted."""
    streaming: Annotated[
        Annotated[Streaming, Tag("window")] | Annotated[Literal["auto", "off"], Tag("mode")],
        Discriminator(
            _streaming_kind,
            custom_error_type="streaming",
            custom_error_message='Input should be "auto", "off" or an object such as {"window_rows": 100000}',
        ),
    ] = "auto"
    """Whether training reads rows from disk instead of memory; `off`: never. `auto` does so if the rows do not fit into
    the memory of a job, which is decided when the job is submitted."""


class SyntheticData(Strict):
    """Synthetic data: normally distributed features and class labels, from a seed."""

    kind: Literal["synthetic"] = "synthetic"
    """Where the rows come from."""
    rows: Annotated[Int, Field(ge=3, le=5_000_000)] = 1_000
    """How many rows."""
    features: Annotated[Int, Field(ge=1, le=10_000)] = 20
    """How many columns, named x0, x1, ..."""
    classes: Annotated[Int, Field(ge=2, le=1_000)] = 2
    """How many classes the target y has."""
    signal: Annotated[Float, Field(ge=0.0, le=100.0)] = 0.0
    """Distance between class centres in standard deviations; 0: labels independent of the features."""
    seed: Seed = 0
    """The same seed gives the same rows."""

    @model_validator(mode="after")
    def _bounded(self) -> SyntheticData:
        if self.rows * self.features > MAX_SYNTHETIC_VALUES:
            raise ValueError(f"rows x features must be at most {MAX_SYNTHETIC_VALUES:,}")
        if self.classes > self.rows:
            raise ValueError("there must be at least one row per class")
        return self


class InlineData(Strict):
    """A small table in the request; upload a data set for larger ones."""

    kind: Literal["inline"] = "inline"
    """Where the rows come from."""
    x: Annotated[
        list[Annotated[list[Float | None], Field(min_length=1), FailFast()]],
        Field(min_length=3, max_length=MAX_INLINE_VALUES),
        CapErrors(),
    ]
    """Rows of numbers, null where missing; the columns are named x0, x1, ..."""
    y: Annotated[
        list[Bool | Int64 | Float | Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[^\x00]*$")] | None],
        Field(min_length=3, max_length=MAX_INLINE_VALUES),
        CapErrors(),
    ]
    """One target value per row: all text, all booleans or all numbers; rows with null are dropped."""

    @field_validator("x")
    @classmethod
    def _rectangular(cls, x: list[list[float | None]]) -> list[list[float | None]]:
        width = len(x[0])
        for index, row in enumerate(x):
            if len(row) != width:
                raise ValueError(f"row {index} has {len(row)} values, row 0 has {width}")
        if len(x) * width > MAX_INLINE_VALUES:
            raise ValueError(f"at most {MAX_INLINE_VALUES:,} values; upload a data set instead")
        return x

    @model_validator(mode="after")
    def _one_target_a_row(self) -> InlineData:
        if len(self.x) != len(self.y):
            raise ValueError(f"x has {len(self.x)} rows, y has {len(self.y)} values")
        kinds = {bool if isinstance(v, bool) else str if isinstance(v, str) else float for v in self.y if v is not None}
        if len(kinds) > 1:
            raise ValueError("y must be all text, all booleans or all numbers")
        return self


Data = Annotated[
    Annotated[DatasetData, Tag("dataset")]
    | Annotated[SyntheticData, Tag("synthetic")]
    | Annotated[InlineData, Tag("inline")],
    kind_or("dataset"),
]


class Preprocess(Strict):
    """Preprocessing of columns into inputs; fitted on training rows only."""

    numeric: Literal["standardize", "robust", "quantile", "piecewise_linear", "none"] = "standardize"
    """`standardize` scales each numeric column to mean 0 and standard deviation 1; `robust` by median and quartiles,
    with a smooth clip to between -3 and 3; `quantile` maps its quantiles to a normal distribution; `piecewise_linear`
    is `robust`, with an encoding by quantile bins beside each value; `none` leaves numbers unchanged. Dates become days
    since the earliest training row, which are scaled like numbers, and sine and cosine of the time of day, week and
    year. Booleans become 0 and 1, standardized for `standardize` and `quantile`."""
    bins: Annotated[Int, Field(ge=2, le=256)] = 16
    """Most bins of the piecewise-linear encoding, each an input. A column with fewer distinct values has one bin less
    than these, and none with fewer than 3."""
    categorical: Literal["one_hot", "embedding"] = "one_hot"
    """Text columns are one-hot encoded: one input for each frequent value, and one for all others together, (other), if
    they occur in at least 5 rows. Values that do not occur in the data set count as (other) too. `embedding` gives the
    same values codes instead, each of which has a learned vector in the network."""
    embedding_size: Annotated[Int, Field(ge=1, le=512)] | Literal["auto"] = "auto"
    """Length of the vectors of `embedding`; `auto`: by the number n of a column's codes, the whole number nearest to
    1.6 n^0.56."""
    max_categories: Annotated[Int, Field(ge=1, le=1_000)] = 50
    """Most categories of a text column: its most frequent values, each in at least 5 rows."""
    high_cardinality: Literal["most_frequent", "frequency", "target"] = "most_frequent"
    """Text columns with more distinct values than `max_categories`, or without a value in 5 rows: `most_frequent`
    encodes only the most frequent values, and leaves the column out if there are none; `frequency` encodes a value by
    the share of training rows that have it, standardized; `target` by the mean target of these rows (of each class, if
    there are more than 2), smoothed, in standard deviations from the overall mean. For a training row this is computed
    without the fifth of the training rows, drawn by `split.seed`, that the row is in."""
    target_smoothing: Annotated[Float, Field(ge=0.0, le=1e6)] = 10.0
    """Smoothing of `high_cardinality` `target`: each value counts this many more rows with the overall mean."""
    missing: Literal["impute"] = "impute"
    """A 0/1 input indicates a missing value. Missing numbers and dates are imputed by the training mean (by the median
    for `robust`, `quantile` and `piecewise_linear`); missing text has no category, or a code of its own."""
    clip_target: Bool = False
    """Regression: clip predictions, and the metrics computed from them, to the range of the training rows' targets; the
    loss is not clipped."""


def texts_with_numbers(inputs: int) -> int:
    """Most texts of a column with this many numbers each."""
    return max(1, min(MAX_TEXTS, MAX_TEXT_NUMBERS // inputs))
