"""The image reader: class folders in a zip, pixels as columns, one shape for all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from service.data.column_names import MAX_COLUMNS
from service.data.duckdb_connection import sandbox
from service.data.formats.image_decoder import ImageHeader, inspect_header
from service.data.formats.images import default_shape, read_images
from service.data.staging import ReadLimits
from service.errors import InvalidData
from service.spec.read_options import ReadOptions
from service.spec.table import ColumnType
from tests.data.files import zipped
from tests.data.image_files import DOT, NOISE, coloured, grey, jpeg, png, two_classes, zip_of
from tests.data.tables import MEMORY, store


def test_pixels_are_integers_in_columns_and_the_folder_is_the_class(tmp_path: Path) -> None:
    stored = store(tmp_path, zipped({"cats/b.png": DOT, "dogs/a.png": png(grey([9, 8], [7, 255]))}))

    assert stored.values() == [(0, 1, 2, 3, "cats"), (9, 8, 7, 255, "dogs")]
    assert [column.name for column in stored.columns] == ["x0", "x1", "x2", "x3", "label"]
    assert {column.type for column in stored.columns[:-1]} == {ColumnType.integer}
    assert (stored.read_as.format.value, stored.read_as.shape, stored.warnings) == ("images", [1, 2, 2], [])


def test_colours_come_channel_by_channel(tmp_path: Path) -> None:
    corner = NOISE.crop((0, 0, 8, 8))
    stored = store(tmp_path, zipped({"a/1.png": png(corner), "b/2.png": png(corner)}))

    assert stored.read_as.shape == [3, 8, 8]
    pixels = np.array(stored.values()[0][:-1], dtype=int)
    assert np.array_equal(pixels.reshape(3, 8, 8), np.asarray(corner).transpose(2, 0, 1))


def test_the_shape_that_was_read_is_one_that_a_cnn_takes(tmp_path: Path) -> None:
    stored = store(tmp_path, zipped({f"{name}/{n}.png": DOT for name in "ab" for n in range(9)}))

    resolved = stored.resolve("label", architecture={"kind": "cnn", "shape": stored.read_as.shape, "channels": [4]})

    assert [feature.column for feature in resolved.features] == ["x0", "x1", "x2", "x3"]
    assert resolved.target.classes == ("a", "b")


def test_digits_as_files_are_the_digits(tmp_path: Path) -> None:
    digits = load_digits()
    files = {
        f"digits/{label}/{number}.png": png(Image.fromarray(image.astype(np.uint8)))
        for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True))
    }

    stored = store(tmp_path, zipped(files))

    assert [row[-1] for row in stored.values()] == [str(label) for label in digits.target]
    assert np.array_equal(np.array([row[:-1] for row in stored.values()]), digits.data)


@pytest.mark.parametrize("top", ["", "pets/", "a/b/c/"])
def test_common_parent_folders_are_skipped(tmp_path: Path, top: str) -> None:
    stored = store(tmp_path, zipped({top + path: content for path, content in two_classes().items()}))

    assert [row[-1] for row in stored.values()] == ["cats", "dogs"]


def test_hidden_files_and_system_files_are_counted_and_skipped(tmp_path: Path) -> None:
    hidden = [".DS_Store", "cats/.DS_Store", "__MACOSX/cats/._1.png", ".git/config", "cats/Thumbs.db", "desktop.ini"]

    stored = store(tmp_path, zip_of({**dict.fromkeys(hidden, b"?"), "empty/": b"", "cats/": b""}))

    assert stored.rows == 2
    assert stored.warnings == ["hidden files in the zip archive skipped: 6"]


@pytest.mark.parametrize(
    "names", [("0", "1"), ("2020-01-01", "2020-01-02"), ("10:30", "11:30"), ("true", "NA"), ("é", "ß x")]
)
def test_a_class_is_a_text_whatever_it_looks_like(tmp_path: Path, names: tuple[str, str]) -> None:
    stored = store(tmp_path, zipped({f"{name}/1.png": DOT for name in names}))

    assert stored.column("label").type is ColumnType.text
    assert [row[-1] for row in stored.values()] == [*names]


@pytest.mark.e2e
def test_hundreds_of_classes_are_listed_however_many_values_pixels_have(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 256, (30, 40), dtype=np.uint8)) for _ in range(400)]

    stored = store(tmp_path, zipped({f"{n}/1.png": png(image) for n, image in enumerate(images)}))

    assert len(stored.column("label").values or []) == 400


GREY, RED = png(coloured(6, 4, 9, "L")), png(coloured(6, 4, "red"))
WIDE, LARGE = png(coloured(60, 4, 9, "L")), jpeg(coloured(2_000, 1_000, "red"))


@pytest.mark.parametrize(
    ("contents", "shape", "warning"),
    [
        ([GREY, GREY], [1, 4, 6], None),
        ([RED, GREY], [3, 4, 6], None),
        (
            [GREY, GREY, WIDE],
            [1, 4, 6],
            "2 sizes from 4 x 6 to 4 x 60 pixels (height x width) and were resized to 4 x 6",
        ),
    ],
)
def test_without_a_shape_colour_and_median_size_decide_within_the_columns_that_there_may_be(
    tmp_path: Path, contents: list[bytes], shape: list[int], warning: str | None
) -> None:
    content = zipped({f"{'ab'[n % 2]}/{n}": content for n, content in enumerate(contents)})

    stored = store(tmp_path, content, ReadLimits(2**30, 2**30))

    assert stored.read_as.shape == shape
    assert len(stored.columns) == math.prod(shape) + 1
    assert stored.warnings[:1] == ([f"the images have {warning}; set shape= for another size"] if warning else [])


def test_large_images_are_shrunk_to_the_columns_of_a_table() -> None:
    assert default_shape([inspect_header(LARGE, "large", 10**9)] * 2) == (3, 40, 81)


@pytest.mark.parametrize("shape", ["1x5x3", "3x4x6", "3x1x1"])
def test_a_shape_of_the_client_is_taken(tmp_path: Path, shape: str) -> None:
    stored = store(tmp_path, zipped({"a/1": RED, "b/2": WIDE}), shape=shape)

    assert ("x".join(map(str, stored.read_as.shape or [])), stored.warnings) == (shape, [])


def test_a_shape_of_more_values_than_columns_are_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="shape=3x100x100 has 30,000 values; at most 10,000 columns are read"):
        store(tmp_path, zip_of({}), shape="3x100x100")


SIDES = st.integers(1, 65_535)


@given(
    st.lists(st.builds(ImageHeader, SIDES, SIDES, st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=5)
)
def test_the_default_shape_always_fits_and_is_the_original_size_if_that_fits(looks: list[ImageHeader]) -> None:
    channels, height, width = default_shape(looks)

    assert 1 <= channels * height * width <= MAX_COLUMNS
    if len(looks) == 1 and (3 - 2 * looks[0].grey) * looks[0].height * looks[0].width <= MAX_COLUMNS:
        assert (height, width) == (looks[0].height, looks[0].width)


def test_lossy_conversions_are_counted(tmp_path: Path) -> None:
    deep = png(Image.fromarray(np.full((2, 2), 4_660, np.uint16)))
    see_through = png(coloured(2, 2, (9, 128), "LA"))

    assert store(tmp_path, zip_of({"cats/2": deep, "cats/3": see_through, "dogs/2": deep})).warnings == [
        "16-bit images reduced to 8 bits: 2",
        "transparent images composited on white: 1",
    ]


@pytest.mark.parametrize(
    ("bytes_of_memory", "reason"), [(16 * 1_599, "40 x 40 pixels; at most 1,599"), (16 * 999, "bytes; at most 999")]
)
def test_an_image_beyond_the_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, bytes_of_memory: int, reason: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(zip_of({"cats/2.jpg": jpeg(NOISE, quality=50)}))

    with pytest.raises(InvalidData, match=f"'cats/2.jpg' has [\\d,]* ?{reason}"):
        read_images(sandbox(source, tmp_path), source, tmp_path, ReadOptions(), ReadLimits(bytes_of_memory, MEMORY))


def test_more_members_than_are_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.data.formats.class_folders.MAX_MEMBERS", 2)

    assert store(tmp_path, zip_of({})).rows == 2
    with pytest.raises(InvalidData, match="the zip archive has 3 members; at most 2 are read"):
        store(tmp_path, zip_of({"__MACOSX/1": b""}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_duplicate_image_is_refused(tmp_path: Path) -> None:
    content = zip_of({"dogs/2.png": DOT}).replace(b"dogs/2.png", b"dogs/1.png")

    with pytest.raises(InvalidData, match=r"'dogs/1\.png' is duplicated in the zip archive"):
        store(tmp_path, content)


@pytest.mark.parametrize(("asked", "holds"), [("npz", "'cats/1.png': an NPZ file"), ("csv", "a zip archive")])
def test_a_format_that_the_zip_denies_is_refused(tmp_path: Path, asked: str, holds: Any) -> None:
    with pytest.raises(InvalidData, match=holds):
        store(tmp_path, zip_of({}), format=asked)
    with pytest.raises(InvalidData, match="format=images was asked for, but the file's first bytes are those of text"):
        store(tmp_path, "a,b\n1,2\n", format="images")
