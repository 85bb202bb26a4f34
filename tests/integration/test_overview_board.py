"""The overview's board on real servers: nothing that was stored is missing, whatever became of the stream; pages and map."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app.overview import board as boards
from app.overview.routes import board_of
from streamgauge.live.stream import LIVE_KEY, newest_id
from streamgauge.reading import Reading
from streamgauge.storage.read_overview import read_stations_now
from tests.support.ingest import ingest, series, services
from tests.support.many_stations import fill
from tests.support.pages import make_app, sign_in

NOW = datetime.now(UTC)
STAGES = '[{"name": "Minor", "level_m": 2.0, "severity": 2}, {"name": "Major", "level_m": 3.0, "severity": 4}]'


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url, map_tiles="https://tiles.example/{z}/{x}/{y}.png")
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "guest")


def send(engine: Engine, redis: Redis, levels: list[float], device: str = "a", *, end: datetime | None = None) -> None:
    start = (end or datetime.now(UTC)) - timedelta(minutes=len(levels) - 1)
    ingest(services(engine, redis), series(levels, device=device, start=start, step_s=60))


def change(engine: Engine, statement: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def cards(page: str) -> list[tuple[str, str]]:
    return re.findall(r'id="card-([\w-]+)".*?data-state="(\w+)"', page)


def levels(page: str) -> list[str]:
    return re.findall(r'<span class="level">([^<]+)</span>', page)


def test_what_was_just_stored_is_on_the_page(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    assert cards(client.get("/").text) == []
    for level in ("1.10", "1.20", "1.30"):
        send(engine, redis, [float(level)])
        assert levels(client.get("/").text) == [level]


def test_the_page_goes_on_from_where_it_knows_everything(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    send(engine, redis, [1.0])
    page = client.get("/").text
    assert f'data-live-after="{newest_id(redis)}"' in page


@pytest.mark.parametrize("loss", ["DEL", "TRIM"])
def test_a_stream_that_was_lost_loses_nothing(client: FlaskClient, engine: Engine, redis: Redis, loss: str) -> None:
    send(engine, redis, [1.0], "a")
    send(engine, redis, [1.0], "b")
    assert sorted(levels(client.get("/").text)) == ["1.00", "1.00"]
    send(engine, redis, [2.0], "a")
    if loss == "DEL":
        redis.delete(LIVE_KEY)
        send(engine, redis, [1.5], "b")
    else:
        send(engine, redis, [1.5], "b")
        redis.xtrim(LIVE_KEY, maxlen=1)
    assert sorted(levels(client.get("/").text)) == ["1.50", "2.00"]


def test_what_nobody_told_of_is_found_by_reading_all_again(
    client: FlaskClient, app: Flask, engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(engine, redis, [1.0])
    assert levels(client.get("/").text) == ["1.00"]
    change(engine, "UPDATE readings SET level_m = 1.7")
    assert levels(client.get("/").text) == ["1.00"]
    monkeypatch.setattr(boards, "RELOAD_EVERY_S", 0.0)
    deadline = time.monotonic() + 20
    while levels(client.get("/").text) != ["1.70"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert board_of(app).current().position == newest_id(redis)


def test_a_device_s_own_row_counts_at_once(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    send(engine, redis, [2.5])
    send(engine, redis, [1.0], "b")
    assert cards(client.get("/").text) == [("a", "ordinary"), ("b", "ordinary")]
    change(
        engine, "UPDATE devices SET stages = CAST(:stages AS jsonb), river = 'Sông Cầu' WHERE name = 'a'", stages=STAGES
    )
    page = client.get("/").text
    assert cards(page) == [("a", "stage"), ("b", "ordinary")]
    assert "Over Minor" in page
    assert "1 over a stage" in page
    assert cards(client.get("/?q=song+cau").text) == [("a", "stage")]
    change(engine, "UPDATE devices SET decommissioned_at = now() WHERE name = 'a'")
    assert cards(client.get("/").text) == [("b", "ordinary")]
    change(engine, "UPDATE devices SET decommissioned_at = NULL WHERE name = 'a'")
    assert cards(client.get("/").text) == [("a", "stage"), ("b", "ordinary")]
    change(engine, "UPDATE devices SET stages = '\"nonsense\"' WHERE name = 'a'")
    assert cards(client.get("/").text) == [("a", "ordinary"), ("b", "ordinary")]


def test_silent_after_a_stage_comes_right_after_those_over_one(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    send(engine, redis, [2.5], "gone", end=NOW - timedelta(hours=4))
    send(engine, redis, [2.1], "over")
    send(engine, redis, [1.0], "quiet", end=NOW - timedelta(hours=4))
    send(engine, redis, [1.0 + step / 50 for step in range(9)], "rising")
    change(engine, "UPDATE devices SET stages = CAST(:stages AS jsonb), time_zone = 'Asia/Ho_Chi_Minh'", stages=STAGES)
    page = client.get("/").text
    assert [name for name, _ in cards(page)] == ["over", "gone", "rising", "quiet"]
    local = (NOW - timedelta(hours=4) + timedelta(hours=7)).strftime("%H:%M")
    assert f"Silent since {local}, was over Minor" in page
    client.set_cookie("streamgauge_language", "vi")
    assert f"Mất tín hiệu từ {local}, khi đó trên Minor" in client.get("/").text


@pytest.mark.parametrize(
    ("flags", "standing", "state"),
    [
        ([1, 3], 1.0, "suspect"),  # a good level below beside a suspect one above
        ([3, 3], 3.5, "stage"),  # nothing better is known
        ([1, 4], 1.0, "suspect"),
        ([4, 4], None, "suspect"),  # a failed level never stands for the water
        ([3, 1], 3.5, "stage"),
        ([1, 2], 3.5, "stage"),
    ],
)
def test_the_standing_level_is_the_newest_usable_one(
    client: FlaskClient, engine: Engine, redis: Redis, flags: list[int], standing: float | None, state: str
) -> None:
    send(engine, redis, [1.0, 3.5])
    change(engine, "UPDATE devices SET stages = CAST(:stages AS jsonb)", stages=STAGES)
    for order, flag in zip(("", "DESC"), flags, strict=True):
        change(
            engine,
            f"UPDATE readings SET flags = jsonb_build_object('level_m', CAST(:flag AS int)), score = NULL "
            f"WHERE time = (SELECT time FROM readings ORDER BY time {order} LIMIT 1)",
            flag=flag,
        )
    with engine.connect() as connection:
        [found] = read_stations_now(connection)
    assert found.standing_m == standing
    assert cards(client.get("/").text) == [("a", state)]


def test_a_good_level_of_long_before_does_not_hide_a_flood(engine: Engine, redis: Redis) -> None:
    now = datetime.now(UTC)
    send(engine, redis, [1.0], end=now - timedelta(hours=2))
    send(engine, redis, [3.5], end=now)
    change(engine, "UPDATE readings SET flags = '{\"level_m\": 3}' WHERE level_m > 3")
    with engine.connect() as connection:
        [found] = read_stations_now(connection)
    assert (found.standing_m, found.standing_flag) == (3.5, 3)


def test_a_sparkline_goes_on_without_being_read_again(
    client: FlaskClient, engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(engine, redis, [1.0, 1.1, 1.2], end=datetime.now(UTC) - timedelta(minutes=40))
    first = re.search(r'class="line" d="([^"]+)"', client.get("/").text)
    reads: list[Any] = []

    def read(*arguments: Any) -> dict[int, Any]:
        reads.append(arguments)
        return {}

    monkeypatch.setattr(boards, "read_sparklines", read)
    send(engine, redis, [2.2])
    second = re.search(r'class="line" d="([^"]+)"', client.get("/").text)
    assert first
    assert second
    assert first[1] != second[1]
    assert second[1].count("L") > first[1].count("L")
    assert reads == []


@pytest.fixture
def many(engine: Engine) -> int:
    with engine.begin() as connection:
        fill(connection, 150, hours=2)
    return 150


def test_pages_follow_each_other_without_gap_or_twin(client: FlaskClient, many: int) -> None:
    page = client.get("/").text
    seen = cards(page)
    assert len(seen) == 60
    while more := re.search(r'hx-get="(/overview/page[^"]+)"', page):
        page = client.get(more[1].replace("&amp;", "&")).text
        seen += cards(page)
    assert len({name for name, _ in seen}) == len(seen) == many
    order = ["stage", "rising", "silent", "suspect", "anomalous", "ordinary"]
    ranks = [order.index(state) for _, state in seen]
    assert ranks == sorted(ranks)
    # Without scripts the same link leads to the next page, and one leads back.
    second = client.get("/?page=2").text
    assert cards(second) == seen[60:120]
    assert 'href="/"' in second
    assert len(cards(client.get("/?page=999").text)) == 30


def test_a_fragment_says_which_pages_changed(client: FlaskClient, many: int, engine: Engine) -> None:
    page = client.get("/").text
    token = re.search(r'data-page="1" data-order="(\w+)"', page)
    assert token
    answer = client.get("/overview/cards?shown=1&shown=2&shown=77&shown=x").text
    assert f"&#34;1&#34;: &#34;{token[1]}&#34;" in answer
    assert "&#34;77&#34;" not in answer
    change(engine, "UPDATE devices SET display_name = 'Aaa' WHERE name = 'station-00149'")
    assert f"&#34;1&#34;: &#34;{token[1]}&#34;" not in client.get("/overview/cards?shown=1").text


def test_the_map_has_every_position_and_says_who_has_none(client: FlaskClient, many: int) -> None:
    found: Any = client.get("/overview/map").json
    assert len(found["stations"]) == 147
    assert found["unplaced_count"] == 3
    assert len((client.get("/overview/map?q=mill").json or {})["stations"]) < 147
    [one] = (client.get("/overview/map?device=station-00001&device=nowhere").json or {})["stations"]
    assert one[0] == "station-00001"
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "img-src 'self' data: https://tiles.example" in policy


def test_odd_addresses_are_answered_and_nothing_is_markup(client: FlaskClient, many: int) -> None:
    odd = ("%00", "<script>alert(1)</script>", "'; DROP TABLE devices --", "x" * 3_000, "\N{PILE OF POO}", "..%2f..")
    names = ("q", "river", "state", "quality", "sort", "view", "page", "device", "shown")
    for value in odd:
        for path in ("/", "/overview/page", "/overview/cards", "/overview/map"):
            for query in (f"q={value}", f"river={value}", "&".join(f"{name}={value}" for name in names[2:])):
                answer = client.get(path, query_string=query)
                assert answer.status_code == 200
                assert "<script>alert" not in answer.text


def test_views_are_addresses(client: FlaskClient, many: int) -> None:
    for view in ("cards", "list", "wall", "map"):
        page = client.get(f"/?view={view}").text
        assert f'class="cards as-{view}"' in page
        assert ('id="map-box"' in page) is (view != "wall")
    fragment = client.get("/?q=mill", headers={"HX-Request": "true", "HX-Target": "results"}).text
    assert 'id="filters"' not in fragment
    assert 'id="totals" hx-swap-oob="true"' in fragment


def test_while_redis_is_away_the_page_shows_what_is_stored(
    app: Flask, client: FlaskClient, engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis import ConnectionError as RedisConnectionError

    def refuse(*_: object, **__: object) -> Any:
        raise RedisConnectionError("away")

    send(engine, redis, [1.0])
    with monkeypatch.context() as patch:
        patch.setattr(boards, "newest_id", refuse)
        assert levels(client.get("/").text) == ["1.00"]
        ingest(services(engine, redis), [Reading(device="a", time=datetime.now(UTC), level_m=1.4)])
        client.get("/")
    monkeypatch.setattr(boards, "STREAM_PAUSE_S", 0.0)
    assert levels(client.get("/").text) == ["1.40"]
