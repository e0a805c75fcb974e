"""Images as bytes, zip archives of class folders, and invalid ones of both."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from tests.data.files import npy, zipped

ORIENTATION = 0x0112


def grey(*rows: list[int]) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype=np.uint8))


def coloured(width: int, height: int, colour: Any, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), colour)


def png(image: Image.Image, **options: Any) -> bytes:
    return saved(image, "PNG", **options)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return saved(image, "JPEG", **options)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def with_size(content: bytes, width: int, height: int) -> bytes:
    """A PNG that claims another size."""
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def jpeg_with_size(content: bytes, width: int, height: int) -> bytes:
    """A JPEG that claims another size."""
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def with_text_bomb(content: bytes) -> bytes:
    """A PNG with a text of 100 MB in a few bytes."""
    chunk = b"zTXtbomb\0\0" + zlib.compress(bytes(100_000_000))
    return (
        content[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]
    )


def encrypted(archive: bytes) -> bytes:
    content = bytearray(archive)
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    return bytes(content)


def with_long_directory() -> bytes:
    """A zip archive whose list of members is longer than 32 MiB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(520):
            info = zipfile.ZipInfo(f"a/{number}.png")
            info.comment = bytes(65_000)
            archive.writestr(info, b"")
    return file.getvalue()


def two_classes(**others: bytes) -> dict[str, bytes]:
    """A sound image in each of two folders, and `others` by their paths."""
    return {"cats/1.png": DOT, "dogs/1.png": DOT, **others}


def zip_of(others: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    return zipped(two_classes(**others), method)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
DOT = png(grey([0, 1], [2, 3]))
PHOTO = jpeg(NOISE)
PAINTING = png(NOISE)
ANIMATED = png(grey([0, 1]), save_all=True, append_images=[grey([1, 0]), grey([2, 2])])

IMAGE_FAULTS: dict[str, tuple[bytes, str]] = {
    "an empty zip": (zipped({}), "the zip archive holds no files"),
    "a zip of hidden files": (zipped({".a": b"", "__MACOSX/b/._c.png": b""}), "no files but 2 hidden ones"),
    "a zip of a table": (zipped({"penguins.csv": b"a\n1\n"}), "'penguins.csv' is in no class folder"),
    "a zip of a document": (zip_of({"word/document.xml": b"<x/>"}), "'word/document.xml' is no PNG or JPEG image"),
    "images in no folder": (zipped({"1.png": DOT, "2.png": DOT}), "'1.png' is in no class folder: zip images as"),
    "an image beside the class folders": (zip_of({"3.png": DOT}), "'3.png' is in no class folder"),
    "an image in the top folder": (
        zipped({"top/a/1.png": DOT, "top/b/1.png": DOT, "top/3.png": DOT}),
        "'top/3.png' is in no class folder",
    ),
    "images in folders of folders": (
        zipped({"train/a/1.png": DOT, "train/b/1.png": DOT, "test/a/1.png": DOT, "test/b/1.png": DOT}),
        "'train/a/1.png' lies in a folder of a folder",
    ),
    "images of one class": (zipped({"cats/1.png": DOT, "cats/2.png": DOT}), "all images are in one folder, 'cats'"),
    "a file that is no image": (zip_of({"cats/notes.png": b"hello"}), "'cats/notes.png' is no PNG or JPEG image"),
    "an empty file": (zip_of({"cats/2.png": b""}), "'cats/2.png' is no PNG or JPEG image"),
    "a GIF": (zip_of({"cats/2.png": saved(grey([0]), "GIF")}), "'cats/2.png' is no PNG or JPEG image"),
    "PNG cut in its header": (zip_of({"cats/2.png": DOT[:20]}), "'cats/2.png' is damaged: "),
    "PNG cut off": (zip_of({"cats/2.png": PAINTING[:-500]}), "'cats/2.png' is damaged: image file is truncated"),
    "PNG that is damaged": (
        zip_of({"cats/2.png": PAINTING[:300] + bytes(400) + PAINTING[700:]}),
        "'cats/2.png' is damaged: ",
    ),
    "JPEG cut in its header": (zip_of({"cats/2.jpg": PHOTO[:100]}), "'cats/2.jpg' is damaged: "),
    "JPEG cut off": (zip_of({"cats/2.jpg": PHOTO[:-500]}), "'cats/2.jpg' is damaged: image file is truncated"),
    "PNG of a huge size": (
        zip_of({"cats/2.png": with_size(DOT, 100_000, 90_000)}),
        "'cats/2.png' has 100,000 x 90,000 pixels; at most",
    ),
    "JPEG of a huge size": (
        zip_of({"cats/2.jpg": jpeg_with_size(PHOTO, 65_000, 64_000)}),
        "'cats/2.jpg' has 65,000 x 64,000 pixels; at most",
    ),
    "PNG with a text that is a bomb": (zip_of({"cats/2.png": with_text_bomb(DOT)}), "'cats/2.png' is damaged: "),
    "an animation": (zip_of({"cats/2.png": ANIMATED}), "'cats/2.png' is animated: only still images"),
    "a path upwards": (zip_of({"../cats/2.png": DOT}), "the zip archive holds '../cats/2.png'"),
    "a path upwards in a hidden folder": (zip_of({".x/../../2.png": DOT}), "the zip archive holds '.x/../../2.png'"),
    "an absolute path": (zip_of({"/cats/2.png": DOT}), "the zip archive holds '/cats/2.png'"),
    "a path of Windows": (zip_of({"cats\\2.png": DOT}), "the zip archive holds 'cats\\\\2.png'"),
    "an array among images": (zip_of({"cats/2.npy": npy(np.zeros(3))}), "an NPZ file holds arrays NAME.npy and no"),
    "an encrypted image": (encrypted(zip_of({})), "'dogs/1.png' in the zip archive is encrypted"),
    "images of another compression": (zip_of({}, zipfile.ZIP_LZMA), "compressed by other than deflate"),
    "a zip of images cut off": (zip_of({})[:-30], "the zip archive is damaged"),
    "a zip of images that is damaged": (
        zip_of({"cats/2.png": PAINTING}, zipfile.ZIP_STORED).replace(PAINTING, bytes(len(PAINTING))),
        "'cats/2.png' in the zip archive is damaged: Bad CRC",
    ),
    "a list of members that is a bomb": (with_long_directory(), "list of members is longer than 33,554,432 bytes"),
}
