"""Image decoding: orientation, transparency, bit depth, resizing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.data.formats.image_decoder import decode, inspect_header
from tests.data.image_files import NOISE, PAINTING, coloured, grey, jpeg, png, saved, turned

RAMP = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)


def pixels(content: bytes, *shape: int) -> Any:
    channels, height, width = shape
    return decode(content, "it", (channels, height, width))


def test_an_image_of_the_requested_size_is_unchanged() -> None:
    assert np.array_equal(pixels(png(Image.fromarray(RAMP)), 1, 4, 6), [RAMP])
    assert np.array_equal(pixels(PAINTING, 3, 40, 40), np.asarray(NOISE).transpose(2, 0, 1))


def test_a_jpeg_is_nearly_unchanged() -> None:
    [found] = pixels(jpeg(Image.fromarray(RAMP), quality=95), 1, 4, 6)

    assert np.abs(found.astype(int) - RAMP).max() <= 5


def test_another_size_is_stretched_to_and_keeps_the_mean() -> None:
    found = pixels(png(Image.fromarray(RAMP)), 1, 2, 2)

    assert found.shape == (1, 2, 2)
    assert abs(found.mean() - RAMP.mean()) <= 1
    assert pixels(png(Image.fromarray(RAMP)), 1, 9, 1).shape == (1, 9, 1)


def test_a_large_jpeg_is_resized_as_its_pixels_would_be() -> None:
    photo = NOISE.resize((1_600, 1_200), Image.Resampling.BICUBIC)

    found = pixels(jpeg(photo, quality=95), 3, 30, 40)

    expected = np.asarray(photo.resize((40, 30), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(found.astype(int) - expected).mean() < 2


RED = [255, 0, 0]
HALF_RED = [255, 127, 127]
SOME: dict[str, tuple[bytes, list[int], int]] = {
    "colour": (png(coloured(2, 2, "red")), RED, 76),
    "CMYK": (jpeg(coloured(8, 8, (0, 255, 255, 0), "CMYK"), quality=100), RED, 76),
    "palette": (png(coloured(2, 2, "red").convert("P", palette=Image.Palette.ADAPTIVE)), RED, 76),
    "palette, see-through": (png(coloured(2, 2, "red").quantize(2), transparency=0), [255, 255, 255], 255),
    "alpha": (png(coloured(2, 2, (255, 0, 0, 128), "RGBA")), HALF_RED, 165),
    "alpha of nothing": (png(coloured(2, 2, (1, 2, 3, 0), "RGBA")), [255, 255, 255], 255),
    "alpha of all": (png(coloured(2, 2, (1, 2, 3, 255), "RGBA")), [1, 2, 3], 2),
    "a colour that is see-through": (png(coloured(2, 2, "red"), transparency=(255, 0, 0)), [255, 255, 255], 255),
    "grey with alpha": (png(coloured(2, 2, (0, 128), "LA")), [127, 127, 127], 127),
    "grey": (png(coloured(2, 2, 200, "L")), [200, 200, 200], 200),
    "black and white": (png(coloured(2, 2, 1, "1")), [255, 255, 255], 255),
    "16 bits": (png(Image.fromarray(np.full((2, 2), 200 * 256 + 77, np.uint16))), [200, 200, 200], 200),
}


@pytest.mark.parametrize("kind", SOME)
def test_pixels_are_what_a_person_sees_on_white_paper(kind: str) -> None:
    content, colour, as_grey = SOME[kind]
    side = inspect_header(content, "it", 100).height

    for size in (side, 1):
        found = pixels(content, 3, size, size)
        assert np.abs(found.reshape(3, -1).T.astype(int) - colour).max() <= 2
        assert np.abs(pixels(content, 1, size, size).astype(int) - as_grey).max() <= 2


@pytest.mark.parametrize("save", [png, jpeg])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_put_upright_by_its_exif_orientation(save: Any, orientation: int) -> None:
    upright = np.zeros((8, 16), dtype=np.uint8)
    upright[:4, :8] = 255
    ways = [lambda a: a, np.fliplr, lambda a: np.rot90(a, 2), np.flipud, np.transpose]
    ways += [np.rot90, lambda a: np.rot90(a.T, 2), lambda a: np.rot90(a, -1)]
    stored = np.ascontiguousarray(ways[orientation - 1](upright))

    content = save(Image.fromarray(stored), exif=turned(orientation))

    seen = inspect_header(content, "it", 1_000)
    assert (seen.height, seen.width) == (8, 16)
    assert np.abs(pixels(content, 1, 8, 16).astype(int) - upright).max() < 10


def test_of_a_photo_that_holds_several_the_first_is_read() -> None:
    content = saved(coloured(8, 8, "red"), "MPO", save_all=True, append_images=[coloured(8, 8, "blue")])

    assert content.startswith(b"\xff\xd8\xff")
    assert inspect_header(content, "it", 100).height == 8
    assert np.abs(pixels(content, 3, 1, 1).flatten().astype(int) - RED).max() <= 2


def test_exif_that_is_damaged_turns_nothing() -> None:
    content = jpeg(Image.fromarray(RAMP), exif=turned(6))
    place = content.index(b"Exif\0\0") + 6

    for junk in (b"\xff" * 8, b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"):
        broken = content[:place] + junk + content[place + len(junk) :]
        assert (inspect_header(broken, "it", 100).height, pixels(broken, 1, 4, 6).shape) == (4, (1, 4, 6))


def test_the_header_says_whether_an_image_is_greyscale_16_bit_or_transparent() -> None:
    def told(content: bytes) -> tuple[bool, bool, bool]:
        seen = inspect_header(content, "it", 10_000)
        return seen.grey, seen.deep, seen.see_through

    assert told(png(grey([1]))) == told(jpeg(grey([1]))) == told(png(coloured(1, 1, 1, "1"))) == (True, False, False)
    assert told(PAINTING) == told(jpeg(NOISE)) == (False, False, False)
    assert told(SOME["16 bits"][0]) == (True, True, False)
    assert told(SOME["grey with alpha"][0]) == (True, False, True)
    assert told(SOME["palette, see-through"][0]) == (False, False, True)


@given(
    image=st.sampled_from([NOISE, NOISE.convert("L"), NOISE.convert("RGBA"), NOISE.convert("P"), NOISE.convert("1")]),
    channels=st.sampled_from([1, 3]),
    sides=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_every_image_becomes_any_shape(image: Image.Image, channels: int, sides: tuple[int, int]) -> None:
    found = pixels(png(image), channels, *sides)

    assert (found.shape, found.dtype) == ((channels, *sides), np.uint8)
