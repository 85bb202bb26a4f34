"""Notes and photos of a site: kept, shown, taken away; pictures are made anew; what is no picture is refused."""

import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from PIL import Image
from sqlalchemy import Engine, text

from app.site import pictures
from app.site.pictures import BadPicture, read_picture
from streamgauge.storage import site_records
from streamgauge.storage.devices import register_devices
from tests.support.pages import make_app, send, sign_in

PAGE = "/stations/weir/records"
ORIENTATION, GPS_TAG = 0x0112, 0x8825


@pytest.fixture
def app(engine: Engine, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    with engine.begin() as connection:
        register_devices(connection, ["weir", "mill"])
    yield app
    app.extensions["streamgauge_connections"].close()


def picture(width: int = 300, height: int = 200, kind: str = "JPEG", **options: Any) -> bytes:
    sink = BytesIO()
    Image.new("RGBA" if kind == "PNG" else "RGB", (width, height), (10, 120, 200)[:3]).save(sink, kind, **options)
    return sink.getvalue()


def upload(client: Any, content: bytes, caption: str = "Staff gauge") -> Any:
    return send(client, "/stations/weir/photos", photo=(BytesIO(content), "a.jpg"), caption=caption)


def test_a_note_is_kept_with_its_author_and_taken_away(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    assert send(client, "/stations/weir/notes", text="Ladder is loose\n<b>mind</b>").status_code == 303
    page = client.get(PAGE).text
    assert "Ladder is loose" in page
    assert "&lt;b&gt;mind" in page
    assert "duty, " in page
    with engine.connect() as connection:
        number = connection.execute(text("SELECT id FROM station_notes")).scalar_one()
    assert send(client, f"/stations/mill/notes/{number}/remove").status_code == 404
    assert send(client, f"/stations/weir/notes/{number}/remove").status_code == 303
    assert "Ladder" not in client.get(PAGE).text
    assert send(client, f"/stations/weir/notes/{number}/remove").status_code == 404
    with engine.connect() as connection:
        actions = connection.execute(text("SELECT action FROM audit_log WHERE subject = 'device weir' ORDER BY id"))
        assert actions.scalars().all() == ["note.add", "note.remove"]


@pytest.mark.parametrize("words", ["", "   ", "x" * 4_001, "a\0b"])
def test_a_note_that_cannot_be_kept_is_refused_and_stays_typed(app: Flask, words: str) -> None:
    answer = send(sign_in(app, "duty"), "/stations/weir/notes", text=words)
    assert answer.status_code == 422
    assert "1 to 4" in answer.text


def test_a_photo_is_kept_small_and_large(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    assert upload(client, picture(4_000, 3_000)).status_code == 303
    with engine.connect() as connection:
        number = connection.execute(text("SELECT id FROM station_photos")).scalar_one()
    sizes = []
    for query in ("", "?small=1"):
        answer = client.get(f"/stations/weir/photos/{number}{query}")
        assert answer.content_type == "image/jpeg"
        assert "private" in answer.headers["Cache-Control"]
        sizes.append(Image.open(BytesIO(answer.data)).size)
    assert sizes == [(1_920, 1_440), (480, 360)]
    assert "Staff gauge" in client.get(PAGE).text
    assert sign_in(app, "guest").get(f"/stations/weir/photos/{number}").status_code == 200
    assert app.test_client().get(f"/stations/weir/photos/{number}").status_code == 302
    assert client.get(f"/stations/mill/photos/{number}").status_code == 404
    assert send(client, f"/stations/weir/photos/{number}/remove").status_code == 303
    assert client.get(f"/stations/weir/photos/{number}").status_code == 404


def test_place_and_camera_are_taken_out_and_the_picture_is_upright() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "Maker of the camera"
    exif.get_ifd(GPS_TAG)[2] = (10.0, 46.0, 0.0)
    kept = read_picture(picture(300, 200, exif=exif))
    found = Image.open(BytesIO(kept.content))
    assert found.size == (200, 300) == (kept.width, kept.height)
    assert dict(found.getexif()) == {}
    assert b"Maker" not in kept.content


def test_what_one_sees_through_is_white() -> None:
    sink = BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(sink, "PNG")
    assert Image.open(BytesIO(read_picture(sink.getvalue()).content)).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "kind"),
        (b"GIF89a" + b"\0" * 100, "kind"),
        (picture()[:200], "damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "kind"),
        (b"\xff" * (pictures.MAX_BYTES + 1), "large"),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(BadPicture) as refusal:
        read_picture(content)
    assert refusal.value.reason == reason


def test_a_small_file_with_very_many_pixels_is_refused_before_it_is_decoded() -> None:
    sink = BytesIO()
    Image.new("1", (12_000, 12_000)).save(sink, "PNG")
    assert len(sink.getvalue()) < 100_000
    with pytest.raises(BadPicture) as refusal:
        read_picture(sink.getvalue())
    assert refusal.value.reason == "pixels"


@pytest.mark.parametrize(
    ("width", "height", "kind", "options", "is_kept"),
    [
        (8_000, 5_000, "PNG", {}, False),
        (4_500, 4_500, "WEBP", {}, False),
        (4_500, 4_500, "JPEG", {"progressive": True}, False),
        (4_500, 4_500, "JPEG", {}, True),
        (8_200, 6_300, "JPEG", {}, False),
    ],
)
def test_what_cannot_be_decoded_small_may_have_fewer_pixels(
    width: int, height: int, kind: str, options: dict[str, Any], is_kept: bool
) -> None:
    content = picture(width, height, kind, **options)
    if is_kept:
        assert read_picture(content).width == 1_920
        return
    with pytest.raises(BadPicture) as refusal:
        read_picture(content)
    assert refusal.value.reason == "pixels"


def test_the_largest_png_costs_a_bounded_amount_of_memory(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(picture(4_000, 3_100, "PNG"))
    program = (
        "import resource, sys; from app.site.pictures import read_picture\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = most(); read_picture(open(sys.argv[1], 'rb').read()); print(most() - before)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "large.png")]
    used = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(used.stdout) < 170


def test_one_picture_is_decoded_at_a_time(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = sign_in(app, "duty")
    monkeypatch.setattr(pictures, "LONGEST_WAIT_S", 0.05)
    with pictures._decoding:
        answer = upload(client, picture())
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert "Other photos are being worked on" in answer.text
    assert upload(client, b"no picture").status_code == 422
    assert upload(client, picture()).status_code == 303


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_large_picture_is_upright_too(kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    kept = read_picture(picture(3_000, 2_000, kind, exif=exif))
    assert (kept.width, kept.height) == (1_280, 1_920)


@pytest.mark.parametrize("mode", ["P", "L", "LA", "1", "I;16"])
def test_pictures_of_other_kinds_of_colour_are_kept(mode: str) -> None:
    sink = BytesIO()
    Image.new(mode, (2_400, 1_200)).save(sink, "PNG", **({"transparency": 0} if mode == "P" else {}))
    kept = Image.open(BytesIO(read_picture(sink.getvalue()).content))
    assert (kept.mode, kept.size) == ("RGB", (1_920, 960))
    assert kept.getpixel((9, 9)) == ((255, 255, 255) if mode in {"P", "LA"} else (0, 0, 0))


def test_of_what_is_removed_no_bytes_are_left(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    assert upload(client, picture()).status_code == 303
    assert send(client, "/stations/weir/notes", text="Ladder is loose").status_code == 303
    with engine.connect() as connection:
        photo = connection.execute(text("SELECT id FROM station_photos")).scalar_one()
        note = connection.execute(text("SELECT id FROM station_notes")).scalar_one()
    assert send(client, f"/stations/weir/photos/{photo}/remove").status_code == 303
    assert send(client, f"/stations/weir/notes/{note}/remove").status_code == 303
    left = "SELECT (SELECT length(content) + length(thumbnail) FROM station_photos), (SELECT text FROM station_notes)"
    with engine.connect() as connection:
        assert tuple(connection.execute(text(left)).one()) == (0, "")
        said = connection.execute(text("SELECT before FROM audit_log WHERE action = 'note.remove'")).scalar_one()
    assert said == {"note": note, "text": "Ladder is loose"}


def test_notes_and_photos_of_a_station_have_an_end(app: Flask, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_records, "MOST_NOTES", 2)
    monkeypatch.setattr(site_records, "MOST_PHOTOS", 1)
    client = sign_in(app, "duty")
    notes = [send(client, "/stations/weir/notes", text=f"Note {number}") for number in range(3)]
    assert [answer.status_code for answer in notes] == [303, 303, 422]
    assert "notes already" in notes[2].text
    assert "Note 2" in notes[2].text
    assert [upload(client, picture()).status_code for _ in range(2)] == [303, 422]
    assert send(client, "/stations/mill/notes", text="Elsewhere").status_code == 303
    with engine.connect() as connection:
        note = connection.execute(text("SELECT min(id) FROM station_notes")).scalar_one()
    assert send(client, f"/stations/weir/notes/{note}/remove").status_code == 303
    assert send(client, "/stations/weir/notes", text="Room again").status_code == 303


def test_refusals_are_told_on_the_page_and_nothing_is_kept(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    for content, told in ((b"", "No photo was sent"), (b"no picture", "no JPEG, PNG or WebP")):
        answer = upload(client, content)
        assert answer.status_code == 422
        assert told in answer.text
        assert 'value="Staff gauge"' in answer.text
    assert upload(client, picture(), caption="x" * 201).status_code == 422
    assert upload(client, b"x" * (13 * 2**20)).status_code == 413
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM station_photos")).scalar_one() == 0


def test_viewers_look_only(app: Flask) -> None:
    client = sign_in(app, "guest")
    assert "<textarea" not in client.get(PAGE).text
    assert send(client, "/stations/weir/notes", text="x").status_code == 403
    assert upload(client, picture()).status_code == 403
    assert client.get("/stations/nowhere/records").status_code == 404
    assert "<html" not in client.get(PAGE, headers={"HX-Request": "true"}).text
