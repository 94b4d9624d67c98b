"""Uploaded pictures: checked to be pictures, cleaned, and kept under the hash of what is kept."""

import hashlib
import os
import re
import shutil
import struct
import tempfile
import time
import warnings
from contextlib import suppress
from errno import ENOSPC
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from conf.store import Object

MAX_PIXELS = 50_000_000
MAX_PIXELS_OF_WEBP = 25_000_000
"""Its decoder is made for animations: it takes 22 bytes a pixel, those of other formats 14."""
MAX_SCANS = 100
"""Of a progressive JPEG, which has about ten: each costs as much as the whole picture, and takes a few bytes."""
LONGEST_SIDE = 2_048
MAX_PROFILE_BYTES = 16 * 1024
"""Of colours: those of cameras and screens have some hundred bytes, those of printers a megabyte of tables."""
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}
CONTENT_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
NAME = re.compile(r"[0-9a-f]{64}\.(jpg|png|webp|gif)")
UNFINISHED = ".upload-"
UNFINISHED_SECONDS = 3_600
"""An upload that is not finished after that long never will be."""
LEFT_FREE = 1 << 30
"""Bytes of their disk that pictures leave to facts and checkpoints, without which nothing goes on."""

# What Pillow only warns of is refused here, like what it refuses itself.
warnings.simplefilter("error", Image.DecompressionBombWarning)


# The marker, the length of what follows and the number of components (ISO/IEC 10918-1, B.2.3): a phone may have put a
# video behind the picture, and any two bytes are somewhere in that.
_SCAN = re.compile(rb"\xff\xda\x00[\x06\x08\x0a\x0c\x0e][\x00-\x04]")


class BadPicture(ValueError):  # noqa: N818 - reads as what it is
    """Not a picture that we take; the message says why."""


def clean_picture(data: bytes) -> tuple[bytes, str]:
    """The picture encoded anew, upright, without metadata (place, camera), and its file extension.

    Of an animation the first frame is kept. BadPicture where it is no JPEG, PNG, WEBP or GIF.
    """
    if data.startswith(b"\xff\xd8") and len(_SCAN.findall(data)) > MAX_SCANS:
        raise BadPicture(f"the image has more than {MAX_SCANS} scans")
    try:
        with Image.open(BytesIO(data), formats=list(EXTENSIONS)) as checked:
            _refuse_too_many_pixels(checked)
            checked.verify()
        with Image.open(BytesIO(data), formats=list(EXTENSIONS)) as image:
            # MPO is what many phones make: a JPEG with further pictures, such as a smaller one, behind it.
            picture_format = "JPEG" if image.format == "MPO" else str(image.format)
            return _encode(image, picture_format), EXTENSIONS[picture_format]
    except BadPicture:
        raise
    except UnidentifiedImageError:
        raise BadPicture("the image is not a JPEG, PNG, WEBP or GIF") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(MAX_PIXELS) from None
    except _STUMBLES as error:
        raise BadPicture(f"the image is broken: {error}") from None


# Pillow's decoders raise whatever a broken file makes them trip over.
_STUMBLES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
# What the eight ways to hold a camera want: EXIF 2.3, tag 0x0112. Pillow's own way writes all other tags anew, and
# trips over any that is not as it should be.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _refuse_too_many_pixels(image: Image.Image) -> None:
    limit = MAX_PIXELS_OF_WEBP if image.format == "WEBP" else MAX_PIXELS
    if image.width * image.height > limit:
        raise _too_many_pixels(limit)


def _too_many_pixels(limit: int) -> BadPicture:
    return BadPicture(f"the image has more than {limit:,} pixels")


def _encode(image: Image.Image, picture_format: str) -> bytes:
    image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG is then decoded to about the size that is kept
    image.load()
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    upright = image if turn is None else image.transpose(turn)
    if upright.mode == "I;16":  # grey in 16 bits: converting would make all but the darkest white
        upright = upright.point(lambda value: value / 256)
        if "transparency" in upright.info:
            upright.info["transparency"] //= 256
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA", "P") else None  # None: a broken one too
    upright = upright.convert("RGB" if picture_format == "JPEG" else "RGBA")
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    if profile and len(profile) <= MAX_PROFILE_BYTES:
        upright = _in_srgb(upright, profile)
    upright.info.clear()  # comments, profiles and the like would be written again
    encoded = BytesIO()
    upright.save(encoded, picture_format, quality=88)
    return encoded.getvalue()


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """What the numbers mean by the profile, in those that a picture without one has; as it is where that is broken."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        colours = ImageCms.profileToProfile(picture.convert("RGB"), source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError):
        return picture
    assert colours is not None, "it is not done in place"
    if picture.mode == "RGBA":
        colours.putalpha(picture.getchannel("A"))
    return colours


def require_room(folder: Path | Object) -> None:
    """OSError where the disk of the folder, which need not be there yet, has no room for more pictures."""
    if not isinstance(folder, Path):
        return
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if shutil.disk_usage(there).free < LEFT_FREE:
        raise OSError(ENOSPC, f"less than {LEFT_FREE >> 20:,} MiB are free at {there}")


def keep_picture(folder: Path | Object, data: bytes, extension: str) -> str:
    """Store under the content's hash, whole or not at all; answers the file's name."""
    name = f"{hashlib.sha256(data).hexdigest()}.{extension}"
    if isinstance(folder, Path):
        _keep_file(folder, name, data)
    elif not (folder / name).is_file():
        (folder / name).write_bytes(data)
    return name


def _keep_file(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / name).exists():
        return
    with tempfile.NamedTemporaryFile(dir=folder, prefix=UNFINISHED, delete=False) as fresh:
        try:
            fresh.write(data)
            fresh.flush()
            os.fsync(fresh.fileno())
            os.chmod(fresh.name, 0o644)
            os.replace(fresh.name, folder / name)
        except BaseException:
            os.unlink(fresh.name)
            raise


def remove_unfinished(folder: Path | Object) -> None:
    """What uploads left behind whose process was killed; other processes may be writing some now."""
    if not isinstance(folder, Path):
        return
    with suppress(OSError):
        for left in folder.glob(f"{UNFINISHED}*"):
            if time.time() - left.stat().st_mtime > UNFINISHED_SECONDS:
                left.unlink(missing_ok=True)
