"""Re-scoring on a real Postgres: runs are planned, carried out chunk by chunk, interrupted, cancelled, reported."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import xgboost
from psycopg2.errors import QueryCanceled
from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from streamgauge.errors import ModelArtefactError
from streamgauge.reading import Reading, to_microseconds
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.scoring.calibration import SHIPPED
from streamgauge.scoring.judge import judge
from streamgauge.scoring.model import CARD_FILE, MODEL_FILE, Model, described, identity
from streamgauge.scoring.shipped import shipped_card
from streamgauge.storage.calibrations import StoredCalibration, write_calibrations
from streamgauge.storage.devices import Device
from streamgauge.storage.models import ensure_model
from streamgauge.storage.rescore import Created, Run, RunRefused, create_run, list_runs, read_run, request_cancel
from streamgauge.storage.rescore_chunks import ChunkRows, claim_chunk, lock_chunk
from streamgauge.storage.rescore_plan import open_runs, plan_chunks
from tasks.pipeline import Services
from tasks.rescore import chunk as chunk_module
from tasks.rescore import tend as tend_module
from tasks.rescore.chunk import ATTEMPTS_MAX, ChunkScorer
from tasks.rescore.tend import fail_run, schedule_runs, settle_run, tend_runs
from tasks.rescore.verdict import judge_chunk
from tests.support.ingest import START, ingest, recorded, series, services

EVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC))
VERDICT = "level_flag, expected_m, low_m, high_m, score, surprise"


@pytest.fixture
def using(engine: Engine, redis: Redis) -> Services:
    return services(engine, redis)


def store_record(using: Services, device: str, rows: int = 1_500, step: int = 300) -> None:
    """Part of a real record with a flood in it, in tasks as they come live."""
    readings = [Reading(device=device, time=moment, level_m=level) for moment, level in recorded()[:rows]]
    for first in range(0, rows, step):
        ingest(using, readings[first : first + step])


def ask(
    engine: Engine,
    devices: Sequence[str] | None = None,
    model: str = "champion",
    kind: str = "on_demand",
    **changes: Any,
) -> Created:
    since, until = changes.get("since", EVER[0]), changes.get("until", EVER[1])
    with engine.begin() as connection:
        return create_run(connection, kind=kind, by="test", devices=devices, since=since, until=until, model=model)


def refusal(engine: Engine, **changes: Any) -> dict[str, str]:
    with pytest.raises(RunRefused) as caught:
        ask(engine, **changes)
    return {problem.field: problem.detail for problem in caught.value.problems}


def plan(using: Services, chunk_readings: int = 200) -> ChunkScorer:
    scorer = ChunkScorer(using)
    tend_runs(using, scorer.models, chunk_readings)
    return scorer


def do_chunks(using: Services, scorer: ChunkScorer, most: int = 1_000) -> int:
    """Do what waits, as the chunk task does; returns how many chunks there were."""
    done = 0
    with using.engine.connect() as connection:
        runs = [run for run in open_runs(connection) if run.state == "running"]
    for run in runs:
        with using.engine.connect() as connection:
            while done < most and scorer.next_chunk(connection, run):
                done += 1
        settle_run(using.engine, run.id)
    return done


def run_of(engine: Engine, run_id: int) -> Run:
    with engine.connect() as connection:
        run = read_run(connection, run_id)
    assert run is not None
    return run


def rescored(engine: Engine, run_id: int) -> Run:
    run = run_of(engine, run_id)
    assert (run.state, run.error) == ("done", None)
    return run


def rows(engine: Engine, query: str, **values: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(query), values).all())


def change(engine: Engine, query: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(query), values)


def stored(engine: Engine) -> list[Any]:
    # Live rows know of no level flag 9.
    flag = "COALESCE((flags->>'level_m')::int, 9)"
    return rows(
        engine,
        f"SELECT device_id, time, {flag}, expected_m, low_m, high_m, score, surprise FROM readings ORDER BY 1, 2",
    )


def scores(engine: Engine) -> list[Any]:
    return rows(engine, f"SELECT device_id, time, {VERDICT} FROM scores ORDER BY 1, 2")


def test_what_was_scored_live_is_scored_the_same_again_to_the_bit(engine: Engine, using: Services) -> None:
    store_record(using, "a")
    store_record(using, "b", rows=700, step=7)
    ingest(using, series([None, 1.0, 1.01, None, 1.0, 1.02, 1.01, 1.0], device="without"))
    before = rows(engine, "SELECT * FROM readings ORDER BY device_id, time")
    run_id = ask(engine).run_id
    scorer = plan(using)
    assert do_chunks(using, scorer) == 8 + 4 + 1
    run = rescored(engine, run_id)
    assert scores(engine) == stored(engine)
    assert rows(engine, "SELECT * FROM readings ORDER BY device_id, time") == before
    report = run.report
    assert report is not None
    assert report["readings"] == run.readings == run.readings_done == len(before)
    assert report["scored"] > 2_000
    assert report["marked_before"] == report["marked_after"] > 0
    changed = ("newly_marked", "no_longer_marked", "flags_changed", "alarms_new", "alarms_gone", "other_model")
    assert {name: report[name] for name in changed} == dict.fromkeys(changed, 0)
    assert report["largest_change"] is None
    assert {alarm["before"] for alarm in report["alarms"]} == {"marked"}


def test_chunks_cover_each_reading_once_whatever_their_size(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=500)
    found = []
    for size in (499, 500, 501, 17):
        run_id = ask(engine, kind="shadow" if size % 2 else "on_demand").run_id
        assert do_chunks(using, plan(using, size)) == -(-500 // size)
        assert rescored(engine, run_id).readings == 500
        found.append(scores(engine))
    assert len(found[0]) == 500
    assert all(one == found[0] for one in found)


def test_a_range_takes_its_first_instant_and_not_its_last(engine: Engine, using: Services) -> None:
    ingest(using, series([1.0 + 0.01 * n for n in range(100)], device="a"))
    ingest(using, series([2.0] * 100, device="b"))
    since, until = START + timedelta(minutes=50), START + timedelta(minutes=100)
    run_id = ask(engine, ["a"], since=since, until=until).run_id
    do_chunks(using, plan(using))
    assert rescored(engine, run_id).readings_done == 10
    times = rows(engine, "SELECT min(time), max(time), count(DISTINCT device_id) FROM scores")
    assert times == [(since, until - timedelta(minutes=5), 1)]
    inside = [
        row for row in stored(engine) if since <= row.time < until and row.device_id == scores(engine)[0].device_id
    ]
    assert scores(engine) == inside


def test_what_cannot_be_done_is_refused_with_all_that_is_wrong(engine: Engine, using: Services) -> None:
    ingest(using, series([1.0] * 3))
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    assert set(refusal(engine, since=naive, devices=["a", "nobody", "no name!"], model="f" * 64)) == {
        "from",
        "devices",
        "model",
    }
    assert "'no name!', 'nobody'" in refusal(engine, devices=["a", "nobody", "no name!"])["devices"]
    assert "after from" in refusal(engine, since=START, until=START)["until"]
    assert "no reading" in refusal(engine, since=EVER[1], until=EVER[1] + timedelta(days=365 * 50))["from"]
    assert set(refusal(engine, devices=[])) == {"devices"}
    assert "no challenger" in refusal(engine, model="challenger")["model"]
    assert set(refusal(engine, model="a\x00b")) == {"model"}
    assert rows(engine, "SELECT id FROM rescore_runs") == []


def test_the_same_run_is_not_made_twice_while_it_is_open(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=100)
    first = ask(engine, ["a"])
    assert ask(engine, ["a", "a"]) == Created(first.run_id, merged=True)
    plan(using)
    assert ask(engine, ["a"]) == Created(first.run_id, merged=True)
    assert not ask(engine).merged
    with engine.begin() as connection:
        request_cancel(connection, first.run_id)
    again = ask(engine, ["a"])
    assert not again.merged
    assert again.run_id != first.run_id


def test_so_many_open_runs_and_no_more(engine: Engine, using: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamgauge.storage.rescore.OPEN_RUNS_MAX", 2)
    ingest(using, series([1.0] * 3))
    for days in (1, 2):
        ask(engine, until=EVER[1] + timedelta(days=days))
    assert "" in refusal(engine)


def test_a_chunk_under_way_is_taken_by_nobody_else_and_left_whole(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=400)
    run_id = ask(engine).run_id
    scorer = plan(using)
    with engine.connect() as one, engine.connect() as two:
        with one.begin():
            first = claim_chunk(one, run_id, ATTEMPTS_MAX)
        held = one.begin()
        assert first is not None
        assert lock_chunk(one, first)
        with two.begin():
            assert not lock_chunk(two, first)
            second = claim_chunk(two, run_id, ATTEMPTS_MAX)
        assert second is not None
        assert second.number != first.number
        # It ends as that of a killed worker does: rolled back.
        held.rollback()
    assert do_chunks(using, scorer) == 2
    run = rescored(engine, run_id)
    assert (run.chunks, run.chunks_done, run.readings_done) == (2, 2, 400)
    attempts = rows(engine, "SELECT attempts FROM rescore_chunks ORDER BY number")
    assert [row.attempts for row in attempts] == [2, 2]


def test_a_run_is_cancelled_between_chunks_and_keeps_what_it_wrote(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=600)
    run_id = ask(engine).run_id
    scorer = plan(using)
    assert do_chunks(using, scorer, most=1) == 1
    with engine.begin() as connection:
        assert request_cancel(connection, run_id)
        assert request_cancel(connection, run_id)
    assert do_chunks(using, scorer) == 0
    run = run_of(engine, run_id)
    assert (run.state, run.chunks_done, run.readings_done, len(scores(engine))) == ("cancelled", 1, 200, 200)
    assert run.report is not None
    assert run.report["readings"] == 200
    with engine.begin() as connection:
        assert not request_cancel(connection, run_id)
        assert not request_cancel(connection, 999)


def test_a_run_does_not_end_under_a_chunk(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=100)
    run_id = ask(engine).run_id
    plan(using)
    with engine.connect() as connection:
        with connection.begin():
            chunk = claim_chunk(connection, run_id, ATTEMPTS_MAX)
        assert chunk is not None
        with connection.begin():
            assert lock_chunk(connection, chunk)
            with engine.begin() as other:
                # Asking for the end does not wait for the chunk.
                assert request_cancel(other, run_id)
            assert not settle_run(engine, run_id)
    assert settle_run(engine, run_id)
    assert run_of(engine, run_id).state == "cancelled"


def test_a_chunk_that_cannot_be_done_fails_alone(
    engine: Engine, using: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_record(using, "good", rows=200)
    ingest(using, series([1.0] * 50, device="bad"))

    def judge(found: ChunkRows, device: Device, *others: Any) -> Any:
        if device.name == "bad":
            raise ValueError("no verdict on this one")
        return judge_chunk(found, device, *others)

    monkeypatch.setattr(chunk_module, "judge_chunk", judge)
    run_id = ask(engine).run_id
    do_chunks(using, plan(using))
    run = run_of(engine, run_id)
    assert (run.state, run.chunks, run.chunks_done, run.chunks_failed) == ("failed", 2, 1, 1)
    assert run.error is not None
    assert "no verdict on this one" in run.error
    assert run.report is not None
    assert (run.report["readings"], run.report["chunks_failed"], len(scores(engine))) == (200, 1, 200)
    assert run.report["errors"][0]["device"] == "bad"


def test_a_chunk_whose_workers_were_killed_is_tried_again_when_it_fails_once(
    engine: Engine, using: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_record(using, "a", rows=100)
    run_id = ask(engine).run_id
    plan(using)
    change(engine, "UPDATE rescore_chunks SET attempts = :killed", killed=ATTEMPTS_MAX - 2)
    failing = [ValueError("once")]

    def judge(*arguments: Any) -> Any:
        if failing:
            raise failing.pop()
        return judge_chunk(*arguments)

    monkeypatch.setattr(chunk_module, "judge_chunk", judge)
    do_chunks(using, plan(using))
    assert (run_of(engine, run_id).state, run_of(engine, run_id).chunks_done) == ("done", 1)


def test_a_chunk_that_ends_its_worker_again_and_again_is_given_up(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=100)
    run_id = ask(engine).run_id
    scorer = plan(using)
    with engine.begin() as connection:
        for _ in range(ATTEMPTS_MAX):
            assert claim_chunk(connection, run_id, ATTEMPTS_MAX) is not None
    assert do_chunks(using, scorer) == 0
    run = run_of(engine, run_id)
    assert run.state == "failed"
    assert "begun 12 times" in str(run.error)


def test_what_passes_is_tried_again_and_fails_no_chunk(
    engine: Engine, using: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_record(using, "a", rows=100)
    run_id = ask(engine).run_id
    scorer = plan(using)

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(chunk_module, "judge_chunk", out_of_memory)
        for _ in range(5):
            with pytest.raises(MemoryError):
                do_chunks(using, scorer)
    assert do_chunks(using, scorer) == 1
    assert rescored(engine, run_id).readings_done == 100


def test_a_model_whose_files_are_gone_fails_the_run_and_says_so(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=100)
    with engine.begin() as connection:
        ensure_model(connection, "e" * 64, {"features_sha256": "0"})
    run_id = ask(engine, model="e" * 64).run_id
    plan(using)
    run = run_of(engine, run_id)
    assert run.state == "failed"
    assert "not in the database" in str(run.error)
    assert run.report is not None
    assert run.report["readings"] == 0


def test_the_models_are_settled_once_and_stations_go_with_their_own(engine: Engine, using: Services) -> None:
    for device in ("a", "b"):
        ingest(using, series([1.0] * 5, device=device))
    shipped = rows(engine, "SELECT id FROM models")[0].id
    with engine.begin() as connection:
        # All that is looked at before a chunk of it begins is what is written down of it.
        site = ensure_model(connection, "e" * 64, shipped_card(), {MODEL_FILE: b"x"})
        unfit = ensure_model(connection, "f" * 64, {"features_sha256": "0"}, {MODEL_FILE: b"x"})
    change(
        engine,
        "INSERT INTO model_aliases (device_id, alias, model_id) SELECT id, 'champion', :site FROM devices WHERE name = 'b'",
        site=site,
    )
    change(
        engine,
        "INSERT INTO model_aliases (device_id, alias, model_id) SELECT id, 'champion', :m FROM devices WHERE name = 'a'",
        m=unfit,
    )
    run_id = ask(engine).run_id
    plan(using)
    run = run_of(engine, run_id)
    device_b = rows(engine, "SELECT id FROM devices WHERE name = 'b'")[0].id
    assert (run.state, run.model_id, run.parameters["site_models"]) == ("running", shipped, {str(device_b): site})


def test_stations_whose_planning_takes_too_long_are_planned_fewer_at_once(
    engine: Engine, using: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for device in ("a", "b", "c"):
        ingest(using, series([1.0] * 5, device=device))
    tried: list[int] = []

    def slow(*arguments: Any, devices_at_once: int, **others: Any) -> bool:
        tried.append(devices_at_once)
        if devices_at_once > 5:
            raise OperationalError("INSERT", {}, QueryCanceled("canceling statement due to statement timeout"))
        return plan_chunks(*arguments, devices_at_once=devices_at_once, **others)

    monkeypatch.setattr(tend_module, "plan_chunks", slow)
    run_id = ask(engine).run_id
    plan(using)
    run = run_of(engine, run_id)
    assert tried[:3] == [50, 12, 3]
    assert (run.state, run.chunks) == ("running", 3)


def test_a_challenger_of_one_station_judges_that_one_alone(engine: Engine, using: Services) -> None:
    for device in ("a", "b", "c"):
        ingest(using, series([1.0] * 5, device=device))
    shipped = rows(engine, "SELECT id FROM models")[0].id
    change(
        engine,
        "INSERT INTO model_aliases (device_id, alias, model_id) SELECT id, 'challenger', :m FROM devices WHERE name = 'b'",
        m=shipped,
    )
    run_id = ask(engine, model="challenger").run_id
    do_chunks(using, plan(using))
    assert rescored(engine, run_id).readings == 5


def test_what_a_late_reading_changes_is_reported(engine: Engine, using: Services) -> None:
    """The live path does not score the rows after a late reading again; re-scoring does, and says what that comes to."""
    readings = [Reading(device="a", time=moment, level_m=level) for moment, level in recorded()[:600]]
    late = readings[300:330]
    ingest(using, readings[:300] + readings[330:])
    ingest(using, late)
    # What an old model is supposed to have said: one reading marked that is none, one not marked that is.
    change(engine, "UPDATE readings SET score = 0.99 WHERE time = :t", t=readings[100].time)
    run_id = ask(engine).run_id
    do_chunks(using, plan(using))
    report = rescored(engine, run_id).report
    assert report is not None
    assert report["no_longer_marked"] >= 1
    assert report["alarms_gone"] >= 1
    gone = [alarm for alarm in report["alarms"] if alarm["after"] == "not"]
    assert gone[0]["device"] == "a"
    assert gone[0]["before"] == "marked"
    assert report["largest_change"]["device"] == "a"
    assert report["by_device"]["a"]["no_longer_marked"] == report["no_longer_marked"]


def test_scoring_twice_writes_the_same_rows_and_says_who_wrote_them_last(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=300)
    found = []
    for kind in ("on_demand", "scheduled"):
        run_id = ask(engine, kind=kind).run_id
        do_chunks(using, plan(using))
        found.append(scores(engine))
        assert rows(engine, "SELECT DISTINCT run_id FROM scores") == [(run_id,)]
    assert found[0] == found[1]
    assert len(found[0]) == 300


def test_runs_are_listed_newest_first_with_their_progress(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=400)
    ids = [ask(engine, kind=kind).run_id for kind in ("on_demand", "shadow", "scheduled")]
    scorer = plan(using, 100)
    do_chunks(using, scorer, most=2)
    with engine.connect() as connection:
        listed = list_runs(connection)
        assert [run.id for run in listed] == ids[::-1]
        assert [run.id for run in list_runs(connection, limit=1, before=ids[2])] == [ids[1]]
        assert [run.id for run in list_runs(connection, kind="shadow")] == [ids[1]]
        assert read_run(connection, 10**15) is None
    first = listed[-1]
    assert (first.state, first.chunks, first.chunks_done, first.share_done) == ("running", 4, 2, 0.5)
    assert first.readings_per_s is not None
    assert first.eta_s is not None
    assert listed[0].eta_s is None


def test_a_promotion_is_followed_by_one_scheduled_run(engine: Engine, using: Services) -> None:
    now = datetime.now(UTC)
    ingest(using, series([1.0] * 5, start=now - timedelta(days=2)))
    shipped = rows(engine, "SELECT id FROM models")[0].id
    # The first task has made it champion.
    assert schedule_runs(engine, 30) == []  # The first champion replaced nobody.
    change(
        engine,
        "INSERT INTO model_promotions (device_id, alias, model_id, previous_model_id, action, moved_by) "
        "VALUES (0, 'champion', :m, :m, 'promote', 'test')",
        m=shipped,
    )
    assert schedule_runs(engine, 0) == []
    made = schedule_runs(engine, 30)
    assert len(made) == 1
    assert schedule_runs(engine, 30) == []
    do_chunks(using, plan(using))
    run = rescored(engine, made[0])
    assert (run.kind, run.parameters["devices"], run.readings_done) == ("scheduled", None, 5)
    assert schedule_runs(engine, 30, now=now + timedelta(days=7)) == []


def test_failing_a_run_keeps_what_it_wrote(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=400)
    run_id = ask(engine).run_id
    scorer = plan(using)
    do_chunks(using, scorer, most=1)
    fail_run(engine, run_id, str(ModelArtefactError("gone")))
    fail_run(engine, run_id, "once more")
    run = run_of(engine, run_id)
    assert (run.state, run.error, len(scores(engine))) == ("failed", "gone", 200)


def test_years_of_few_readings_are_no_work(engine: Engine, using: Services) -> None:
    times = [datetime(year, month, 3, tzinfo=UTC) for year in range(2001, 2026, 8) for month in (2, 9)]
    ingest(using, [Reading(device="a", time=moment, level_m=1.0) for moment in times])
    run_id = ask(engine, since=datetime(1980, 1, 1, tzinfo=UTC), until=datetime(2030, 1, 1, tzinfo=UTC)).run_id
    assert do_chunks(using, plan(using)) == 1
    run = rescored(engine, run_id)
    assert run.readings_done == len(times)
    assert np.isnan([np.nan if row.score is None else row.score for row in scores(engine)]).all()


def smaller(model: Model) -> Model:
    """Another model: the same with a part of its trees."""
    booster = xgboost.Booster()
    files = model.files()
    booster.load_model(bytearray(files[MODEL_FILE]))
    files[MODEL_FILE] = bytes(booster[:5].save_raw("ubj"))
    card = {**model.card, "files": described(files), "sha256": identity(files)}
    return Model.from_files({**files, CARD_FILE: json.dumps(card).encode()})


def test_another_model_s_verdicts_stand_beside_those_of_the_time(engine: Engine, using: Services) -> None:
    store_record(using, "a", rows=600)
    before = rows(engine, "SELECT * FROM readings ORDER BY time")
    other = smaller(using.model)
    with engine.begin() as connection:
        other_id = ensure_model(connection, other.sha256, dict(other.card), other.files())
    for model in ("champion", other.sha256):
        run_id = ask(engine, model=model).run_id
        do_chunks(using, plan(using))
    run = rescored(engine, run_id)
    assert (run.model_id, run.model_sha256) == (other_id, other.sha256)
    assert run.report is not None
    assert (run.report["other_model"], run.report["largest_change"] is None) == (600, False)
    assert rows(engine, "SELECT * FROM readings ORDER BY time") == before
    assert rows(engine, "SELECT model_id, count(*) FROM scores GROUP BY 1 ORDER BY 1") == [(1, 600), (other_id, 600)]
    own = rows(engine, f"SELECT device_id, time, {VERDICT} FROM scores WHERE model_id = 1 ORDER BY 1, 2")
    assert own == stored(engine)
    time_us = np.array([to_microseconds(row.time) for row in before])
    level_m = np.array([row.level_m for row in before])
    whole = judge(other, np.zeros(600, dtype=np.int64), time_us, level_m, np.arange(600))
    found = rows(engine, "SELECT expected_m, score FROM scores WHERE model_id = :m ORDER BY time", m=other_id)
    np.testing.assert_array_equal(np.array([row.expected_m for row in found], dtype=float), whole.expected.expected_m)
    np.testing.assert_array_equal(np.array([row.score for row in found], dtype=float), whole.score)
    changed = (run.report["newly_marked"], run.report["no_longer_marked"])
    marks = [(row.score or 0.0) >= ANOMALY_SCORE for row in before]
    now = [(row.score or 0.0) >= ANOMALY_SCORE for row in found]
    assert changed == (
        sum(new and not old for old, new in zip(marks, now, strict=True)),
        sum(old and not new for old, new in zip(marks, now, strict=True)),
    )


def test_each_reading_is_judged_with_the_calibration_and_the_companions_of_its_time(
    engine: Engine, using: Services
) -> None:
    """Calibrations that begin within the record, limits of its own, and a neighbour: live and re-scored alike."""
    readings = [Reading(device="a", time=moment, level_m=level) for moment, level in recorded()[:900]]
    beside = [Reading(device="b", time=moment, level_m=1.0 + level / 2) for moment, level in recorded()[:900]]
    ingest(using, [*readings[:1], *beside[:1]])
    device = rows(engine, "SELECT id FROM devices WHERE name = 'a'")[0].id
    settings = {"neighbours": ["b"], "rate_suspect_m_per_h": 0.5}
    change(engine, "UPDATE devices SET quality = CAST(:q AS jsonb) WHERE name = 'a'", q=json.dumps(settings))
    with engine.begin() as connection:
        for place, scale in ((200, 0.2), (500, 3.0)):
            band = replace(SHIPPED.model, low_scale=scale, high_scale=scale)
            valid = StoredCalibration(device, 1, readings[place].time, replace(SHIPPED, model=band))
            write_calibrations(connection, [valid])
    using.directory.forget()
    using.calibrations.forget()
    for first in range(1, 900, 100):
        ingest(using, [*beside[first : first + 100], *readings[first : first + 100]])
    run_id = ask(engine).run_id
    do_chunks(using, plan(using))
    assert rescored(engine, run_id).report["flags_changed"] == 0  # type: ignore[index]
    assert scores(engine) == stored(engine)
    suspect = rows(engine, "SELECT count(*) FROM scores WHERE level_flag = 3 AND device_id = :d", d=device)
    assert suspect[0][0] > 0
