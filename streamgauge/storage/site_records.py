"""What people keep of a site: notes and photos, so many of each.

Of what is removed the row stays, without words and pictures; the audit log says by whom, and what a note said.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from streamgauge.storage.audit import write_audit

MAX_NOTE_CHARACTERS = 4_000
MOST_PHOTOS = 60
"""Of one station, as they are shown on one page."""
MOST_NOTES = 200
RECORDS_LOCK = 0x5347_000B  # "SG", 11: one key of ours among Postgres's advisory locks

_ADD_NOTE = text("""
INSERT INTO station_notes (device_id, text, written_by) VALUES (:device_id, :text, :by) RETURNING id
""")
_NOTES = text("""
SELECT id, text, written_by, written_at FROM station_notes
WHERE device_id = :device_id AND removed_at IS NULL ORDER BY written_at DESC, id DESC LIMIT :limit
""")
# What a row held before an UPDATE is read from a row that the same statement locks.
_REMOVE_NOTE = text("""
WITH gone AS (
    SELECT id, text FROM station_notes WHERE id = :id AND device_id = :device_id AND removed_at IS NULL FOR UPDATE
)
UPDATE station_notes n SET removed_at = now(), text = '' FROM gone WHERE n.id = gone.id RETURNING gone.text
""")
_COUNT_NOTES = text("SELECT count(*) FROM station_notes WHERE device_id = :device_id AND removed_at IS NULL")
_COUNT_PHOTOS = text("SELECT count(*) FROM station_photos WHERE device_id = :device_id AND removed_at IS NULL")
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_ADD_PHOTO = text("""
INSERT INTO station_photos (device_id, content, thumbnail, media_type, width, height, caption, added_by)
VALUES (:device_id, :content, :thumbnail, :media_type, :width, :height, :caption, :by) RETURNING id
""")
_PHOTOS = text("""
SELECT id, width, height, caption, added_by, added_at FROM station_photos
WHERE device_id = :device_id AND removed_at IS NULL ORDER BY added_at DESC, id DESC LIMIT :limit
""")
_REMOVE_PHOTO = text("""
UPDATE station_photos SET removed_at = now(), content = '', thumbnail = ''
WHERE id = :id AND device_id = :device_id AND removed_at IS NULL RETURNING caption
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What somebody wrote of a site."""

    id: int
    text: str
    written_by: str
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo of a site, without its bytes; sizes in pixels."""

    id: int
    width: int
    height: int
    caption: str
    added_by: str
    added_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A photo's bytes in two sizes, as ``app.site.pictures`` makes them."""

    content: bytes
    thumbnail: bytes
    media_type: str
    width: int
    height: int


class TooManyNotes(ValueError):
    """The station has ``MOST_NOTES`` notes."""


class TooManyPhotos(ValueError):
    """The station has ``MOST_PHOTOS`` photos."""


def add_note(connection: Connection, *, device_id: int, device: str, words: str, actor: str) -> int:
    """Keep a note; returns its number.

    Raises:
        ValueError: it is empty, too long, or holds what text cannot.
        TooManyNotes: there are ``MOST_NOTES``.
    """
    words = words.strip()
    if not words or len(words) > MAX_NOTE_CHARACTERS or "\0" in words:
        raise ValueError(f"a note has 1 to {MAX_NOTE_CHARACTERS} characters")
    connection.execute(_LOCK, {"key": RECORDS_LOCK})  # Two at the same time are counted one after the other.
    if connection.execute(_COUNT_NOTES, {"device_id": device_id}).scalar_one() >= MOST_NOTES:
        raise TooManyNotes
    number = int(connection.execute(_ADD_NOTE, {"device_id": device_id, "text": words, "by": actor}).scalar_one())
    subject = f"device {device}"
    write_audit(connection, actor=actor, action="note.add", subject=subject, after={"note": number, "text": words})
    return number


def list_notes(connection: Connection, device_id: int) -> list[Note]:
    """A site's notes, the newest first, at most ``MOST_NOTES``."""
    rows = connection.execute(_NOTES, {"device_id": device_id, "limit": MOST_NOTES})
    return [Note(**row) for row in rows.mappings()]


def remove_note(connection: Connection, *, device_id: int, device: str, note_id: int, actor: str) -> bool:
    """Take a note from the page; False if there is none of this number at this site."""
    words = connection.execute(_REMOVE_NOTE, {"id": note_id, "device_id": device_id}).scalar_one_or_none()
    if words is None:
        return False
    before = {"note": note_id, "text": words}
    write_audit(connection, actor=actor, action="note.remove", subject=f"device {device}", before=before)
    return True


def add_photo(
    connection: Connection, *, device_id: int, device: str, picture: Picture, caption: str, actor: str
) -> int:
    """Keep a photo; returns its number.

    Raises:
        TooManyPhotos: there are ``MOST_PHOTOS``.
    """
    connection.execute(_LOCK, {"key": RECORDS_LOCK})
    if connection.execute(_COUNT_PHOTOS, {"device_id": device_id}).scalar_one() >= MOST_PHOTOS:
        raise TooManyPhotos
    values = {
        "device_id": device_id,
        "content": picture.content,
        "thumbnail": picture.thumbnail,
        "media_type": picture.media_type,
        "width": picture.width,
        "height": picture.height,
        "caption": caption,
        "by": actor,
    }
    number = int(connection.execute(_ADD_PHOTO, values).scalar_one())
    after = {"photo": number, "caption": caption, "bytes": len(picture.content)}
    write_audit(connection, actor=actor, action="photo.add", subject=f"device {device}", after=after)
    return number


def list_photos(connection: Connection, device_id: int) -> list[Photo]:
    """A site's photos, the newest first."""
    rows = connection.execute(_PHOTOS, {"device_id": device_id, "limit": MOST_PHOTOS})
    return [Photo(**row) for row in rows.mappings()]


def read_photo(connection: Connection, device_id: int, photo_id: int, *, small: bool) -> tuple[bytes, str] | None:
    """A photo's bytes and media type; None if there is none of this number at this site."""
    column = "thumbnail" if small else "content"
    query = text(
        f"SELECT {column} AS content, media_type FROM station_photos "
        "WHERE id = :id AND device_id = :device_id AND removed_at IS NULL"
    )
    row = connection.execute(query, {"id": photo_id, "device_id": device_id}).one_or_none()
    return None if row is None else (bytes(row.content), row.media_type)


def remove_photo(connection: Connection, *, device_id: int, device: str, photo_id: int, actor: str) -> bool:
    """Take a photo from the page; False if there is none of this number at this site."""
    caption = connection.execute(_REMOVE_PHOTO, {"id": photo_id, "device_id": device_id}).scalar_one_or_none()
    if caption is None:
        return False
    before = {"photo": photo_id, "caption": caption}
    write_audit(connection, actor=actor, action="photo.remove", subject=f"device {device}", before=before)
    return True
