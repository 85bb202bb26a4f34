"""A photo as somebody's phone sends it, made fit to keep: turned upright, without place and owner, in two sizes.

The picture is decoded and encoded anew, so that nothing but its pixels is kept: no position, no camera's number, no other file
that hides in it. A file says how large its picture is, and a small one can say much: that is looked at before it is decoded, and
one picture at a time is decoded in a process.
"""

import threading
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from streamgauge.storage.site_records import Picture

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 12 * 2**20
MAX_PIXELS = 51_000_000
"""Of a JPEG that is decoded at a fraction of its size: phones make them so large."""
MAX_PIXELS_WHOLE = 12_500_000
"""Of what has to be in memory as a whole, at up to 20 bytes a pixel: PNG, WebP and progressive JPEG."""
LONGEST_WAIT_S = 10
"""For the pictures before this one."""
LONGEST_SIDE_PX, SMALL_SIDE_PX = 1_920, 480
QUALITY, SMALL_QUALITY = 82, 75
MEDIA_TYPE = "image/jpeg"
_decoding = threading.Lock()


class BadPicture(ValueError):
    """No picture that can be kept; ``reason`` is ``empty``, ``large``, ``pixels``, ``kind``, ``damaged`` or ``busy``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_picture(content: bytes) -> Picture:
    """A picture from a file's bytes.

    Raises:
        BadPicture: it is none, too large, or others are before it for too long.
    """
    if not content:
        raise BadPicture("empty")
    if len(content) > MAX_BYTES:
        raise BadPicture("large")
    if not _decoding.acquire(timeout=LONGEST_WAIT_S):
        raise BadPicture("busy")
    try:
        return _read(content)
    except UnidentifiedImageError:
        raise BadPicture("kind") from None
    except Image.DecompressionBombError:
        raise BadPicture("pixels") from None
    except (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError) as error:
        if isinstance(error, BadPicture):
            raise
        raise BadPicture("damaged") from None
    finally:
        _decoding.release()


def _read(content: bytes) -> Picture:
    with Image.open(BytesIO(content), formats=FORMATS) as found:
        is_whole = found.format in {"PNG", "WEBP"} or "progressive" in found.info
        if found.width * found.height > (MAX_PIXELS_WHOLE if is_whole else MAX_PIXELS):
            raise BadPicture("pixels")
        # JPEGs are decoded at a fraction of their size where that is enough.
        found.draft("RGB", (LONGEST_SIDE_PX, LONGEST_SIDE_PX))
        upright = _on_white(ImageOps.exif_transpose(_shrunk(found)))
    small = upright.copy()
    small.thumbnail((SMALL_SIDE_PX, SMALL_SIDE_PX))
    return Picture(
        content=_encode(upright, QUALITY),
        thumbnail=_encode(small, SMALL_QUALITY),
        media_type=MEDIA_TYPE,
        width=upright.width,
        height=upright.height,
    )


def _shrunk(image: Image.Image) -> Image.Image:
    """The picture at the size at which it is kept, before anything else makes a copy of all of it."""
    if image.mode not in {"L", "RGB", "LA", "RGBA"} or "transparency" in image.info:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    image.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    return image


def _on_white(image: Image.Image) -> Image.Image:
    """The picture in red, green and blue; what one could see through is white."""
    if image.mode in {"LA", "RGBA"}:
        seen = image.convert("RGBA")
        white = Image.new("RGB", seen.size, "white")
        white.paste(seen, mask=seen.getchannel("A"))
        return white
    return image.convert("RGB")


def _encode(image: Image.Image, quality: int) -> bytes:
    sink = BytesIO()
    image.save(sink, "JPEG", quality=quality, optimize=True, progressive=True)
    return sink.getvalue()
