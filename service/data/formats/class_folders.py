"""Class folders: the images of a zip archive, labelled by the name of their folder."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from service.data.formats.zip_archive import check_members
from service.errors import InvalidData

MAX_MEMBERS = 200_000
SYSTEM_FILES = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Image:
    """One file in a class folder."""

    info: zipfile.ZipInfo
    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its path in the archive, for messages."""
        return repr(self.info.orig_filename[:100])

    @property
    def label(self) -> str:
        """The class."""
        return self.path[-2]


def class_folders(archive: zipfile.ZipFile) -> tuple[list[Image], int]:
    """(images in the archive's order, number of hidden files that are skipped).

    Common parent folders are skipped. Raises InvalidData naming files outside of class folders, and for fewer than two
    classes.
    """
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise InvalidData(f"the zip archive has {len(members):,} members; at most {MAX_MEMBERS:,} are read")
    files = [Image(info, _path(info.orig_filename)) for info in members if not info.is_dir()]
    images = [file for file in files if not any(part.startswith(".") or part in SYSTEM_FILES for part in file.path)]
    hidden = len(files) - len(images)
    if not images:
        raise InvalidData("the zip archive holds no files" + f" but {hidden:,} hidden ones" * (hidden > 0))
    check_members(image.info for image in images)
    _check_folders(images)
    return images, hidden


def _path(name: str) -> tuple[str, ...]:
    parts = tuple(name.split("/"))
    if "\\" in name or "\0" in name or not {"", ".", ".."}.isdisjoint(parts):
        raise InvalidData(f"the zip archive holds {name[:100]!r}: a path is plain names with / between them")
    return parts


def _check_folders(images: Sequence[Image]) -> None:
    folders = {image.path[:-1] for image in images}
    pairs = zip(min(folders), max(folders), strict=False)  # the common prefix of these two is that of all
    top = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    if len(folders) == 1 and top:
        raise InvalidData(f"all images are in one folder, {images[0].label[:100]!r}: each class needs one of its own")
    for image in images:
        if len(image.path) - 1 <= top:
            raise InvalidData(f"{image.name} is in no class folder: zip images as CLASS/NAME")
        if len(image.path) - 2 > top:
            raise InvalidData(f"{image.name} lies in a folder of a folder: zip images as CLASS/NAME")
