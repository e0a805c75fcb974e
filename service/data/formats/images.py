"""Image reader: a zip of PNG and JPEG images in class folders -> pixels as columns x0, x1, ... and `label`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median_low

import numpy as np
from duckdb import DuckDBPyConnection

from service.data.column_names import MAX_COLUMNS
from service.data.formats.array_columns import stage, stage_features
from service.data.formats.class_folders import class_folders
from service.data.formats.image_decoder import ImageHeader, decode, inspect_header
from service.data.formats.npy_header import NpyArray
from service.data.formats.zip_archive import check_size, open_zip, read_member
from service.data.staging import Reading, ReadLimits
from service.errors import InvalidData, TooLarge
from service.spec.read_options import FileFormat, ReadAs, ReadOptions

PIXEL_BYTES = 16
"""Memory per pixel: 4 bytes in the file, 4 decoded, 4 converted, and 4 to spare."""


def read_images(
    connection: DuckDBPyConnection, source: Path, work: Path, options: ReadOptions, limits: ReadLimits
) -> Reading:
    """The images of a zip archive, all resized to one shape; their pixels, 0 to 255, are staged in the folder `work`.

    Raises InvalidData naming the member and the reason, TooLarge if it decompresses beyond the limits.
    """
    most = limits.memory_bytes // PIXEL_BYTES
    pixels = work / "pixels"
    with open_zip(source) as archive:
        images, hidden = class_folders(archive)
        check_size((image.info for image in images), "images", limits)
        for image in images:
            if image.info.file_size > most:
                raise InvalidData(f"{image.name} has {image.info.file_size:,} bytes; at most {most:,} are read")
        looks = [inspect_header(read_member(archive, image.info), image.name, most) for image in images]
        shape = _asked(options.shape) if options.shape else default_shape(looks)
        size = len(images) * math.prod(shape)
        if size > limits.unpacked_bytes:
            most_bytes = f"at most {limits.unpacked_bytes:,} are read here"
            raise TooLarge(f"the images decompress to {size:,} bytes at {_times(shape)}; {most_bytes}")
        with pixels.open("wb") as out:
            for image in images:
                out.write(decode(read_member(archive, image.info), image.name, shape).tobytes())
    x = NpyArray("the images", np.dtype(np.uint8), False, (len(images), *shape), 0)
    slices, rows = stage_features(connection, pixels, x, work, limits)
    labels = np.array([image.label for image in images], dtype=object)
    slices.append(stage(connection, labels[None], ("label",), work / "label.parquet"))
    read_as = ReadAs(format=FileFormat.images, shape=list(shape))
    warnings = _warnings(looks, hidden, None if options.shape else shape)
    return Reading(tuple(slices), rows, read_as, tuple(options.null or ()), labels=True, warnings=warnings)


def default_shape(looks: Sequence[ImageHeader]) -> tuple[int, int, int]:
    """The default (channels, height, width): 1 channel if all images are greyscale, and their median size.

    A size beyond the maximum number of columns is scaled down with its aspect ratio.
    """
    channels = 1 if all(image.grey for image in looks) else 3
    height, width = median_low(image.height for image in looks), median_low(image.width for image in looks)
    scale = min(1.0, math.sqrt(MAX_COLUMNS / (channels * height * width)))
    height = min(max(1, int(height * scale)), MAX_COLUMNS // channels)
    width = min(max(1, int(width * scale)), MAX_COLUMNS // (channels * height))
    return channels, height, width


def _asked(text: str) -> tuple[int, int, int]:
    channels, height, width = map(int, text.split("x"))
    if channels * height * width > MAX_COLUMNS:
        values = channels * height * width
        raise InvalidData(f"shape={text} has {values:,} values; at most {MAX_COLUMNS:,} columns are read")
    return channels, height, width


def _times(sides: Sequence[int]) -> str:
    return " x ".join(f"{side:,}" for side in sides)


def _warnings(looks: Sequence[ImageHeader], hidden: int, chosen: tuple[int, int, int] | None) -> tuple[str, ...]:
    found = []
    sizes = sorted({(image.height, image.width) for image in looks}, key=math.prod)
    if chosen and sizes != [chosen[1:]]:
        told = f"{_times(sizes[0])} pixels (height x width)"
        if len(sizes) > 1:
            told = f"{len(sizes):,} sizes from {_times(sizes[0])} to {_times(sizes[-1])} pixels (height x width)"
        found.append(f"the images have {told} and were resized to {_times(chosen[1:])}; set shape= for another size")
    deep, see_through = sum(image.deep for image in looks), sum(image.see_through for image in looks)
    if deep:
        found.append(f"16-bit images reduced to 8 bits: {deep:,}")
    if see_through:
        found.append(f"transparent images composited on white: {see_through:,}")
    if hidden:
        found.append(f"hidden files in the zip archive skipped: {hidden:,}")
    return tuple(found)
