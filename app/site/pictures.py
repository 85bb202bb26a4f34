"""A photo as somebody's phone sends it, made fit to keep: turned upright, without place and owner, in two sizes.

The picture is decoded and encoded anew, so that nothing but its pixels is kept: no position, no camera's number, no other file
that hides in it.
"""

from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from streamgauge.storage.site_records import Picture

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 12 * 2**20
MAX_PIXELS = 40_000_000
"""A file of a few kilobytes can say that it has a million times as many pixels: its size is looked at before that."""
LONGEST_SIDE_PX, SMALL_SIDE_PX = 1_920, 480
QUALITY, SMALL_QUALITY = 82, 75
MEDIA_TYPE = "image/jpeg"


class BadPicture(ValueError):
    """No picture that can be kept; ``reason`` is ``empty``, ``large``, ``kind`` or ``damaged``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_picture(content: bytes) -> Picture:
    """A picture from a file's bytes.

    Raises:
        BadPicture: it is none, or too large.
    """
    if not content:
        raise BadPicture("empty")
    if len(content) > MAX_BYTES:
        raise BadPicture("large")
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as found:
            # JPEGs are decoded at a fraction of their size where that is enough.
            found.draft("RGB", (LONGEST_SIDE_PX, LONGEST_SIDE_PX))
            if found.width * found.height > MAX_PIXELS:
                raise BadPicture("large")
            upright = _on_white(ImageOps.exif_transpose(found))
    except UnidentifiedImageError:
        raise BadPicture("kind") from None
    except Image.DecompressionBombError:
        raise BadPicture("large") from None
    except (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError) as error:
        if isinstance(error, BadPicture):
            raise
        raise BadPicture("damaged") from None
    upright.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    small = upright.copy()
    small.thumbnail((SMALL_SIDE_PX, SMALL_SIDE_PX))
    return Picture(
        content=_encode(upright, QUALITY),
        thumbnail=_encode(small, SMALL_QUALITY),
        media_type=MEDIA_TYPE,
        width=upright.width,
        height=upright.height,
    )


def _on_white(image: Image.Image) -> Image.Image:
    """The picture in red, green and blue; what one could see through is white."""
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        seen = image.convert("RGBA")
        white = Image.new("RGB", seen.size, "white")
        white.paste(seen, mask=seen.getchannel("A"))
        return white
    return image.convert("RGB")


def _encode(image: Image.Image, quality: int) -> bytes:
    sink = BytesIO()
    image.save(sink, "JPEG", quality=quality, optimize=True, progressive=True)
    return sink.getvalue()
