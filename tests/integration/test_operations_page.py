"""The operations page and the dead letters on a real database: what is shown, found, replayed, refused."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import Engine, text

from app import create_app
from app.operations.presenter import content_of
from streamgauge.errors import DeadReason
from streamgauge.queue import BATCH, queue_length
from streamgauge.settings import WebSettings
from streamgauge.storage.dead_letters import DeadLetter, write_dead_letters
from streamgauge.storage.devices import Registration, write_registration
from tests.support.ingest import ingest, series, services
from tests.support.pages import make_app, send, sign_in

LETTERS = "/operations/dead-letters"
REPLAY = f"{LETTERS}/replay"
EUI = "70B3D57BA0000001"


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    redis.flushdb()
    app = make_app(engine, database_url, redis_url)
    with engine.begin() as connection:
        write_registration(connection, Registration(name="weir", dev_eui=EUI, model="decentlab_dl_mbx"))
        write_dead_letters(
            connection,
            [
                letter(
                    b'{"level_m": 1.5, "note": "<script>alert(1)</script>"}', DeadReason.BAD_TIME, "time is missing"
                ),
                letter(bytes(range(256)), DeadReason.NOT_JSON, "not JSON in UTF-8", device=None),
                letter(b"1", DeadReason.UNKNOWN_DEVICE, f"no device is registered with the DevEUI {EUI}", device=None),
                letter(b"2", DeadReason.UNKNOWN_DEVICE, "no device is registered as mill", device="mill"),
            ],
        )
    yield app
    app.extensions["streamgauge_connections"].close()


def letter(payload: bytes, reason: DeadReason, detail: str, device: str | None = "weir") -> DeadLetter:
    topic = "streamgauge/v1/devices/weir/readings"
    return DeadLetter(
        topic=topic, source="device", reason=reason, detail=detail, payload=payload, readings=1, device=device,
        received_at=datetime(2026, 11, 20, 12, tzinfo=UTC),
    )  # fmt: skip


def waiting(engine: Engine) -> list[str]:
    query = "SELECT reason FROM dead_letters WHERE replay_state = 'waiting' ORDER BY reason"
    with engine.connect() as connection:
        return list(connection.execute(text(query)).scalars())


def number_of(engine: Engine, reason: str) -> int:
    with engine.connect() as connection:
        query = text("SELECT id FROM dead_letters WHERE reason = :reason")
        return int(connection.execute(query, {"reason": reason}).scalars().first() or 0)


def test_the_page_draws_the_path(app: Flask, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), series([1.0, 1.1], device="weir"))
    client = sign_in(app, "guest")
    page = client.get("/operations").text
    for word in (
        "Queue of readings",
        "since the last reading was stored",
        "events in the last minute",
        "Unknown device",
    ):
        assert word in page
    assert "No worker answers" in client.get("/operations/workers").text
    storage = client.get("/operations/storage").text
    assert "MiB" in storage
    assert "not made yet" in storage


def test_servers_that_do_not_answer_are_told_as_such(app: Flask, engine: Engine) -> None:
    with app.app_context():
        settings = app.extensions["streamgauge_connections"].settings
    away = WebSettings(
        database_url=settings.database_url, redis_url="redis://127.0.0.1:1/0", secret_key="k" * 40, cookie_secure=False
    )
    other = create_app(away)
    page = sign_in(other, "guest").get("/operations")
    assert page.status_code == 200
    assert "Redis does not answer" in page.text
    other.extensions["streamgauge_connections"].close()


def test_letters_are_found_by_what_the_address_says(app: Flask) -> None:
    client = sign_in(app, "guest")
    assert "4 dead letters" in client.get(LETTERS).text
    assert "2 dead letters" in client.get(f"{LETTERS}?reason=unknown_device").text
    assert "1 dead letter<" in client.get(f"{LETTERS}?device=mill").text
    assert "None. Everything" in client.get(f"{LETTERS}?words=nowhere").text
    assert "4 dead letters" in client.get(f"{LETTERS}?since=2026-11-20T11:00&until=2026-11-20T13:00").text
    assert "None. Everything" in client.get(f"{LETTERS}?state=replayed").text


@pytest.mark.parametrize(
    "query",
    ["reason=x'--", "state=1", "since=%00", "until=9999-99-99", "words=%00", "since=2027-01-01&until=2026-01-01"],
)
def test_filters_that_cannot_be_read_are_told_and_replay_nothing(app: Flask, engine: Engine, query: str) -> None:
    client = sign_in(app, "duty")
    page = client.get(f"{LETTERS}?{query}")
    assert page.status_code == 200
    assert "could not be read" in page.text
    fields = dict(part.split("=", 1) for part in query.replace("%00", "\0").split("&"))
    assert send(client, REPLAY, **fields).status_code == 422
    assert waiting(engine) == []


def test_one_letter_shows_its_bytes(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "guest")
    page = client.get(f"{LETTERS}/{number_of(engine, 'bad_time')}").text
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page
    number = number_of(engine, "not_json")
    assert "000000  00 01 02" in client.get(f"{LETTERS}/{number}").text
    raw = client.get(f"{LETTERS}/{number}/payload")
    assert raw.data == bytes(range(256))
    assert raw.content_type == "application/octet-stream"
    assert "attachment" in raw.headers["Content-Disposition"]
    assert client.get(f"{LETTERS}/{2**62}").status_code == 404
    assert client.get(f"{LETTERS}/{2**80}").status_code == 404


def test_a_selection_is_replayed_and_written_down(app: Flask, engine: Engine, redis: Redis) -> None:
    answer = send(sign_in(app, "duty"), REPLAY, reason="unknown_device", next="/operations/dead-letters?state=waiting")
    assert answer.headers["Location"] == "/operations/dead-letters?state=waiting"
    assert waiting(engine) == ["unknown_device"] * 2
    assert queue_length(redis, BATCH) == 1
    with engine.connect() as connection:
        row = connection.execute(text("SELECT actor, after FROM audit_log WHERE action = 'dead_letters.replay'")).one()
    assert (row.actor, row.after) == ("duty", {"letters": 2, "state": "open", "reason": "unknown_device"})
    assert "2 dead letters wait" in sign_in(app, "guest").get(f"{LETTERS}/progress").text


def test_a_devices_letters_are_those_of_its_radio_too(app: Flask, engine: Engine) -> None:
    send(sign_in(app, "duty"), REPLAY, device="weir", next="/devices/weir")
    assert waiting(engine) == ["bad_time", "unknown_device"]


def test_one_is_replayed_by_its_number_and_strangers_go_nowhere(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    answer = send(client, REPLAY, letter=str(number_of(engine, "not_json")), next="//evil.example/")
    assert answer.headers["Location"] == "/"
    assert waiting(engine) == ["not_json"]
    assert send(client, REPLAY, letter="1e9").status_code == 422
    assert send(client, REPLAY, letter="9" * 30).status_code == 422


def test_viewers_replay_nothing(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "guest")
    assert "Replay these" not in client.get(LETTERS).text
    assert send(client, REPLAY).status_code == 403
    assert waiting(engine) == []


def test_pages_of_the_list_follow_each_other(app: Flask, engine: Engine) -> None:
    with engine.begin() as connection:
        rows = [letter(orjson.dumps(number), DeadReason.BAD_NUMBER, f"number {number}.") for number in range(60)]
        write_dead_letters(connection, rows)
    client = sign_in(app, "guest")
    first = client.get(f"{LETTERS}?reason=bad_number").text
    assert first.count('id="letter-') == 50
    following = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = client.get(following).text
    assert second.count('id="letter-') == 10
    assert "Newest ones" in second


def test_one_look_reaches_so_far_and_says_so(app: Flask, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamgauge.storage.dead_letter_rows.LOOKED_AT", 60)
    with engine.begin() as connection:
        rows = [letter(orjson.dumps(number), DeadReason.BAD_NUMBER, f"number {number}.") for number in range(70)]
        write_dead_letters(connection, rows)
    client = sign_in(app, "duty")
    first = client.get(f"{LETTERS}?words=mill").text
    assert "looked at here" in first
    assert "None. Everything" not in first
    assert "0 dead letters+" in first
    assert "Replay these" in first, "what is selected may be further back"
    following = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = client.get(following).text
    assert second.count('id="letter-') == 1
    assert "looked at here" not in second


def test_very_many_are_replayed_piece_by_piece(
    app: Flask, engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgauge.storage.replays.AT_ONCE", 2)
    client = sign_in(app, "duty")
    answer = send(client, REPLAY, next=LETTERS)
    assert "More than 2 dead letters are being replayed" in client.get(answer.headers["Location"]).text
    assert len(waiting(engine)) == 2
    message = orjson.loads(_body(redis))
    assert message[1]["asked"] == {
        "selection": {"state": "open"}, "actor": "duty", "letters": 2, "after": 2, "until": 4,
    }  # fmt: skip


def test_progress_of_very_many_is_not_counted_to_the_end(
    app: Flask, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(sign_in(app, "duty"), REPLAY)
    monkeypatch.setattr("streamgauge.storage.replays.COUNTED", 3)
    monkeypatch.setattr("app.operations.letters.COUNTED", 3)
    page = sign_in(app, "guest").get(f"{LETTERS}/progress").text
    assert "More than 3 dead letters wait" in page
    assert "max=" not in page


def _body(redis: Redis) -> bytes:
    """The body of the one task that waits."""
    return base64.b64decode(orjson.loads(redis.lindex(BATCH, 0))["body"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("payload", "kind"),
    [(b'{"a": 1}', "json"), ("mực nước".encode(), "text"), (b"\xff\xfe", "hex"), (b"", "hex"), (b"a" * 20_000, "text")],
)
def test_bytes_are_shown_as_somebody_can_read_them(payload: bytes, kind: str) -> None:
    content = content_of(payload)
    assert content.kind == kind
    assert content.is_whole == (len(payload) <= 16_384)
