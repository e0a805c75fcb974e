"""Embeddings of categorical columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from service.engine_constants import padded
from service.spec.base import Name
from service.spec.capped_errors import CapErrors
from service.spec.layers.base import InputLayout, Layer, Shape, WrittenLayer, one

INDEX_VALUES = 2
"""An index into the tables is an int64: two float32 values."""


@dataclass(frozen=True)
class Embedding(Layer):
    """A learned vector for each code of each column, one column's behind another's; code 0 has the zero vector.

    weight: (sum of codes x size,), one column's table behind another's. `shape`: (columns,).
    """

    categories: tuple[int, ...]
    sizes: tuple[int, ...]
    kind = "embedding"
    decayed = ("weight",)

    @property
    def output_shape(self) -> Shape:
        """(sum of the sizes,)."""
        return (sum(self.sizes),)

    @property
    def parameters(self) -> int:
        """The tables, with the zero vectors, which are not trained."""
        return sum(codes * size for codes, size in zip(self.categories, self.sizes, strict=True))

    @property
    def values_held(self) -> int:
        """The output, and the index of each of its values."""
        return (1 + INDEX_VALUES) * padded(self.outputs)


class EmbeddingLayer(WrittenLayer):
    """A learned vector for each value of each text column, all columns' vectors side by side: flat values. Needs
    `preprocess.categorical: embedding`, which sets the sizes. A row without a code in a column has the zero vector."""

    kind: Literal["embedding"]
    """The layer's name."""
    inputs: Annotated[list[Name], Field(min_length=1, max_length=100), CapErrors()] | None = None
    """Null, or `codes`, the only input that has codes."""
    reads_codes: ClassVar[bool] = True

    def layer(self, shapes: Sequence[Shape], layout: InputLayout) -> Layer:
        """See WrittenLayer."""
        return Embedding(one(shapes), layout.categories, layout.embedding_sizes)
