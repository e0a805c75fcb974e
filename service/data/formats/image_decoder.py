"""A PNG or JPEG of a stranger -> its pixels, by Pillow."""

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
"""How an image is put upright, by its EXIF orientation."""
SIDEWAYS = (5, 6, 7, 8)

# `look` has a bound of its own, which knows how much memory there is.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Looks:
    """What an image's header tells."""

    height: int
    width: int  # both when upright
    grey: bool
    deep: bool  # 16 bits a value, of which 8 are read
    see_through: bool


def look(content: bytes, name: str, most_pixels: int) -> Looks:
    """The header of an image, no pixel read.

    Raises InvalidData, with the image's `name`, for what is no sound PNG or JPEG, is animated or too large.
    """
    with _opened(content, name) as image:
        width, height = image.size
        if width * height > most_pixels:
            raise InvalidData(f"{name} has {width:,} x {height:,} pixels; at most {most_pixels:,} are read")
        if image.format == "PNG" and getattr(image, "is_animated", False):
            raise InvalidData(f"{name} is animated: only still images are read")
        # A PNG whose EXIF data follows its pixels is not read for this.
        sideways = "exif" in image.info and _orientation(image) in SIDEWAYS
        # Pillow's mode does not tell: grey of 16 bits with alpha is RGBA there.
        depth, colour = content[PNG_HEADER] if image.format == "PNG" else (8, 2 * (image.mode != "L"))
        return Looks(
            *((width, height) if sideways else (height, width)),
            grey=not colour & 2,
            deep=depth == 16,
            see_through=image.has_transparency_data,
        )


def decode(content: bytes, name: str, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The pixels of an image that passed `look`, resized to `shape`, (channels, height, width), each 0 to 255.

    It is put upright; what is transparent lies on white. Raises InvalidData, with its `name`, where it is damaged.
    """
    channels, height, width = shape
    with _opened(content, name) as image:
        image.draft(None, (2 * max(height, width),) * 2)  # a large JPEG is decoded smaller, which is far faster
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
    """The image as grey or red, green and blue of 8 bits, with alpha if it has any, so that it can be resized."""
    if image.mode == "I;16":
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "1":
        return image.convert("L")
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("L", "LA") else "RGBA")
    return image if image.mode == "L" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """By its EXIF data; 1, upright, where that is damaged."""
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
        except Exception as error:  # a parser of others, fed by strangers
            raise InvalidData(f"{name} is damaged: {str(error)[:100]}") from None
