"""Image files from outside, decoded as a viewer shows them, or refused by name."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from lib.data.npz import READ_ERRORS
from lib.params.errors import InputError
from lib.params.files import unread

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")  # whatever the file is called; no other decoder is tried
SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
# Pillow's other modes have more bits than eight, which it clips, or inks, which screens show
# according to a profile.
MODES = ("1", "L", "P", "RGB", "LA", "PA", "RGBA")


def decode(content: bytes, mode: str) -> np.ndarray:
    """An encoded image of `FORMATS` as uint8 (H, W), or (H, W, 3), upright as its EXIF entry says.

    ``mode`` is ``L`` (gray) or ``RGB``.

    Raises:
        ValueError: it is damaged, animated, transparent, or not of 8-bit gray or RGB values. The
            message says so without the name, which is the caller's.
    """
    if not content:
        raise ValueError("it is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a camera's, whose first picture is the photo
                raise ValueError(f"it has {frames} pictures: keep one")
            if image.mode not in MODES:
                raise ValueError(f"its mode is {image.mode}: save it as 8-bit gray or RGB")
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("LA", "PA", "RGBA") or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                if upright.getchannel("A").getextrema()[0] < 255:
                    raise ValueError("it is transparent in part: save it without transparency")
            return np.asarray(upright.convert("RGB").convert(mode))
    except ValueError:
        raise
    except Exception as error:  # decoders raise many kinds, SyntaxError and struct.error too
        if isinstance(error, Image.UnidentifiedImageError):
            raise ValueError(f"it is no image of {', '.join(FORMATS)}") from None
        raise ValueError(unread(error)) from None


def of_archive(path: Path, names: Iterable[str], mode: str) -> Iterator[np.ndarray]:
    """Images of a zip file by name, with or without a suffix of `SUFFIXES`, each as by `decode`.

    Folders in the archive do not matter.

    Raises:
        InputError: the archive cannot be read, has no such image or several, or the image cannot
            be decoded; the message names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members: dict[str, list[str]] = {}
            for member in archive.namelist():
                if "__MACOSX" not in member and not PurePosixPath(member).name.startswith("."):
                    members.setdefault(PurePosixPath(member).name, []).append(member)
            chosen = [_member(path, members, name) for name in names]
            for member in chosen:
                yield _decoded(path, archive, member, mode)
    except READ_ERRORS as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} cannot be read as a zip file ({unread(error)}): get the archive again."
        ) from error


def _member(path: Path, members: dict[str, list[str]], name: str) -> str:
    found = [member for suffix in SUFFIXES for member in members.get(name + suffix, ())]
    if len(found) != 1:
        what = f"{len(found)} images" if found else "no image"
        raise InputError(f"{path} has {what} called {name!r}: one is needed.")
    return found[0]


def _decoded(path: Path, archive: zipfile.ZipFile, member: str, mode: str) -> np.ndarray:
    try:
        return decode(archive.read(member), mode)
    except READ_ERRORS as error:  # a ValueError is one
        raise InputError(f"{path}: the image {member} cannot be used: {unread(error)}.") from None
