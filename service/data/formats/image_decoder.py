"""Image decoder for untrusted PNG and JPEG files, on top of Pillow."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from service.errors import InvalidData

FORMATS = ("PNG", "JPEG")
MAGIC = (b"\x89PNG", b"\xff\xd8\xff")
PNG_HEADER = slice(24, 26)  # bits a value, and a number whose second bit says that there is colour
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition for each EXIF orientation."""
SIDEWAYS = (5, 6, 7, 8)

# `inspect_header` has its own limit, by the memory available.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class ImageHeader:
    """Properties of an image, from its header."""

    height: int
    width: int  # both after EXIF rotation
    grey: bool
    deep: bool  # 16 bits per value, reduced to 8
    see_through: bool


def inspect_header(content: bytes, name: str, most_pixels: int) -> ImageHeader:
    """Read the header of an image without decoding pixels.

    Raises InvalidData, with the image's `name`, if it is no valid PNG or JPEG, animated, or too large.
    """
    with _opened(content, name) as image:
        width, height = image.size
        if width * height > most_pixels:
            raise InvalidData(f"{name} has {width:,} x {height:,} pixels; at most {most_pixels:,} are read")
        if image.format == "PNG" and getattr(image, "is_animated", False):
            raise InvalidData(f"{name} is animated: only still images are read")
        # EXIF data behind the pixels of a PNG is not looked for.
        sideways = "exif" in image.info and _orientation(image) in SIDEWAYS
        # Not by Pillow's mode: 16-bit greyscale with alpha is RGBA there.
        depth, colour = content[PNG_HEADER] if image.format == "PNG" else (8, 2 * (image.mode != "L"))
        return ImageHeader(
            *((width, height) if sideways else (height, width)),
            grey=not colour & 2,
            deep=depth == 16,
            see_through=image.has_transparency_data,
        )


def decode(content: bytes, name: str, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The pixels of an image that passed `inspect_header`, resized to `shape` (channels, height, width), 0 to 255.

    EXIF rotation is applied, transparency composited on white. Raises InvalidData, with its `name`, if it is damaged.
    """
    channels, height, width = shape
    with _opened(content, name) as image:
        image.draft(None, (2 * max(height, width),) * 2)  # decodes large JPEGs at reduced size, which is faster
        image.load()
        orientation = _orientation(image)
        size = (height, width) if orientation in SIDEWAYS else (width, height)
        plain = _plain(image).resize(size, Image.Resampling.BILINEAR)
        if plain.mode in ("LA", "RGBA"):
            colours = plain.convert("RGBA")
            plain = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
        plain = plain.convert("L" if channels == 1 else "RGB")
        if orientation in TURNED:
            plain = plain.transpose(TURNED[orientation])
        return np.asarray(plain).reshape(height, width, channels).transpose(2, 0, 1)


def _plain(image: Image.Image) -> Image.Image:
    """The image as 8-bit greyscale or RGB, with alpha if it has any, so that it can be resized."""
    if image.mode == "I;16":
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "1":
        return image.convert("L")
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("L", "LA") else "RGBA")
    return image if image.mode == "L" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1, upright, if the EXIF data is damaged."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:
        return 1


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                yield image
        except (InvalidData, MemoryError):
            raise
        except UnidentifiedImageError:
            what = "is damaged or cut off" if content.startswith(MAGIC) else "is no PNG or JPEG image"
            raise InvalidData(f"{name} {what}") from None
        except Exception as error:  # Pillow may raise anything for untrusted input
            raise InvalidData(f"{name} is damaged: {str(error)[:100]}") from None
