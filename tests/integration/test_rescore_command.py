"""``python -m tasks.rescore`` on a real database; the batch worker is a thread, or nobody."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest
from redis import Redis
from sqlalchemy import Engine

from streamgauge.reading import Reading
from streamgauge.storage.rescore_plan import open_runs
from tasks.rescore.__main__ import main
from tasks.rescore.chunk import ChunkScorer
from tasks.rescore.tend import settle_run, tend_runs
from tests.support.ingest import count, ingest, recorded, services

FROM = "2018-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def _surroundings(
    engine: Engine, redis: Redis, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMGAUGE_DATABASE_URL", database_url)
    monkeypatch.setenv("STREAMGAUGE_REDIS_URL", redis_url)
    readings = [Reading(device="upper", time=moment, level_m=level) for moment, level in recorded()[:300]]
    ingest(services(engine, redis), readings)


def command(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(arguments, out, err), out.getvalue(), err.getvalue()


@contextmanager
def batch_worker(engine: Engine, redis: Redis) -> Iterator[None]:
    """Carries runs out until the block ends."""
    using, ended = services(engine, redis), threading.Event()
    scorer = ChunkScorer(using)

    def work() -> None:
        while not ended.wait(0.05):
            tend_runs(using, scorer.models, 100)
            with engine.connect() as connection:
                runs = [run for run in open_runs(connection) if run.state == "running"]
            for run in runs:
                with engine.connect() as connection:
                    while scorer.next_chunk(connection, run):
                        pass
                settle_run(engine, run.id)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_run_is_followed_and_its_report_printed(engine: Engine, redis: Redis) -> None:
    with batch_worker(engine, redis):
        code, out, err = command("--from", FROM, "--device", "upper")
        as_json = orjson.loads(command("--from", FROM, "--json")[1])
    assert code == 0
    assert "Run 1 is done: 300 readings" in out
    assert "newly marked: 0; no longer: 0" in out
    assert "Run 1" in err
    assert (as_json["state"], as_json["report"]["readings"]) == ("done", 300)
    assert command("--list")[1].splitlines()[0].split()[1:3] == ["done", "100%"]


def test_a_run_that_fails_says_so_by_its_exit_code(engine: Engine, redis: Redis) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO models (sha256, card) VALUES (repeat('e', 64), '{}')")
    with batch_worker(engine, redis):
        code, out, _ = command("--from", FROM, "--model", "e" * 64)
    assert (code, "has failed" in out, "not in the database" in out) == (1, True, True)


def test_a_run_is_asked_for_and_cancelled(engine: Engine, redis: Redis) -> None:
    assert command("--from", FROM, "--detach")[:2] == (
        0,
        "Run 1 is asked for; follow it with --run 1, cancel it with --cancel 1\n",
    )
    code, out, _ = command("--cancel", "1")
    assert (code, "ends after the chunks" in out) == (0, True)
    with batch_worker(engine, redis):
        code, out, _ = command("--run", "1")
    assert (code, "was cancelled" in out) == (3, True)
    code, _, err = command("--cancel", "1")
    assert (code, "has ended already" in err) == (2, True)


def test_the_same_run_is_followed_instead_of_made_again(engine: Engine) -> None:
    asked = ("--from", FROM, "--until", "2018-07-01T00:00:00Z", "--detach")
    assert command(*asked)[0] == 0
    assert "Run 1 is open already" in command(*asked)[2]
    assert count(engine, "rescore_runs") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", FROM, "--device", "nobody"), "--device: not registered: 'nobody'"),
        (("--from", FROM, "--until", FROM), "--until: until must be after from"),
        (("--from", FROM, "--until", "2018-01-02T00:00:00Z"), "--from: no reading"),
        (("--from", FROM, "--model", "best"), "--model: no model"),
        (("--run", "999"), "There is no run 999"),
        (("--cancel", "999"), "There is no run 999"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments: tuple[str, ...], words: str) -> None:
    code, _, err = command(*arguments)
    assert (code, words in err) == (2, True), err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "2018-01-01T00:00:00"), "no offset"),
        (("--from", "yesterday"), "RFC 3339"),
        (("--from", FROM, "--list"), "not allowed with"),
        ((), "required"),
    ],
)
def test_arguments_that_are_none_are_refused(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command(*arguments)
    assert (ended.value.code, words in capsys.readouterr().err) == (2, True)


def test_servers_that_are_away_and_settings_that_are_bad_have_codes_of_their_own(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMGAUGE_REDIS_URL", "redis://127.0.0.1:1/0")
    code, _, err = command("--from", FROM, "--detach")
    assert (code, "beat will do it" in err) == (0, True)
    monkeypatch.setenv("STREAMGAUGE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    code, _, err = command("--list")
    assert (code, "cannot be reached" in err) == (4, True)
    monkeypatch.setenv("STREAMGAUGE_DATABASE_URL", "mysql://x")
    assert command("--list")[0] == 2
