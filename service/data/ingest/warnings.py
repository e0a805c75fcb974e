"""Warnings of type inference: lost values, ambiguous dates and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from service.data.ingest.types import Typed
from service.spec.read_options import ReadOptions
from service.spec.text import some


def type_warnings(columns: Mapping[str, Typed], options: ReadOptions) -> Iterator[str]:
    """Warnings about lost values and ambiguous notations; `columns` by name."""
    for name, way in columns.items():
        if way.lost:
            values = "value counts" if way.lost == 1 else "values count"
            yield f"column {name!r}: {way.lost:,} infinite or NaN {values} as missing"
        if way.date_or:
            yield (
                f"column {name!r}: ambiguous dates, read as {way.date_format} but {way.date_or} fits too;"
                " set date_format="
            )
    yield from _number_formats(columns)
    yield from _mixed_decimals(columns)
    yield from _mixed_dates(columns)
    if options.date_format and not any(way.date_format for way in columns.values()):
        yield f"no column has dates in the format {options.date_format!r}"


def _number_formats(columns: Mapping[str, Typed]) -> Iterator[str]:
    formatted = [name for name, way in columns.items() if way.formatted]
    if formatted:
        yield (
            "formatted numbers (thousands separators, currency, percent, parentheses for negatives) are read as numbers"
            f" in {some(formatted)}; 12% is 0.12"
        )
    number_like = [name for name, way in columns.items() if way.number_like]
    if number_like:
        yield (
            f"values that look like numbers are read as text in {some(number_like)}: ambiguous; set decimal=."
            " if a comma separates thousands, decimal=, if it is the decimal sign, or write plain numbers"
        )


def _mixed_decimals(columns: Mapping[str, Typed]) -> Iterator[str]:
    commas = [name for name, way in columns.items() if way.decimal == ","]
    points = [name for name, way in columns.items() if way.decimal == "." and way.type.value == "number"]
    if commas and points:
        yield (
            f"numbers have a decimal comma in {some(commas)}, but a point in {some(points)}: if the point"
            " separates thousands, set decimal=,"
        )


def _mixed_dates(columns: Mapping[str, Typed]) -> Iterator[str]:
    ways: dict[str, list[str]] = {}
    for name, way in columns.items():
        if way.date_format:
            ways.setdefault(way.date_format, []).append(name)
    if len(ways) > 1:
        yield "dates have several formats: " + "; ".join(f"{way} in {some(ns)}" for way, ns in ways.items())
