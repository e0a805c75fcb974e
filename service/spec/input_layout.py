"""What a network reads of a row: inputs and codes, by the encodings of its columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from service.spec.layers import InputLayout
from service.spec.table import ColumnType


class Encoded(Protocol):
    """The encoding of a column, as resolved or fitted."""

    @property
    def type(self) -> ColumnType:
        """What its values are."""

    @property
    def width(self) -> int:
        """Number of inputs of the column in `numbers`."""

    @property
    def categories(self) -> Sequence[str] | None:
        """The categories of a text column; None for others."""

    @property
    def other(self) -> bool:
        """Whether all other texts have an input or a code."""

    @property
    def indicator(self) -> bool:
        """Whether missing values have an input or a code."""

    @property
    def embedding_size(self) -> int | None:
        """The size of the embedding of a column with codes; None for others."""


def codes_of(feature: Encoded) -> int:
    """The number of codes of a column; code 0 stands for texts without a code."""
    return 1 + len(feature.categories or ()) + feature.other + feature.indicator


def auto_embedding_size(codes: int) -> int:
    """The size of the embedding of a column with this many codes: 1.6 n^0.56, as in fastai."""
    return round(1.6 * math.pow(codes, 0.56))


def layout_of(features: Sequence[Encoded]) -> InputLayout:
    """What a network reads of a row with these features."""
    starts = accumulate((feature.width for feature in features), initial=0)
    scaled = [
        start
        for start, feature in zip(starts, features, strict=False)
        if feature.categories is None and feature.type is not ColumnType.boolean
    ]
    coded = [(codes_of(feature), feature.embedding_size) for feature in features if feature.embedding_size is not None]
    categories, sizes = zip(*coded, strict=True) if coded else ((), ())
    return InputLayout(sum(feature.width for feature in features), tuple(scaled), categories, sizes)
