"""The hourly roll-up, every minute: hours that have come to rest, and those before them that late data or corrections changed.

The rules, and why no change is missed, stand in ``streamgauge.storage.rollup``. Here is how much is done at once: steps of about
a second, each its own transaction, resting as long as it worked, and none while live readings wait. So millions of old readings
are rolled up in the background, month after month, and a worker that is killed loses one step.
Once a night the last days are looked at again, in the same way. ``python -m tasks.rollup`` does it by hand, without resting, with
its progress.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson
from celery import Celery
from celery.schedules import crontab
from redis import Redis, RedisError
from sqlalchemy import Engine

from streamgauge import logs
from streamgauge.errors import SettingsError
from streamgauge.queue import BATCH, LOOK_AGAIN_TASK, READINGS, ROLLUP_TASK, queue_length
from streamgauge.settings import WorkerSettings, load
from streamgauge.storage.devices import find_devices
from streamgauge.storage.engine import INDEX_LOOKUPS_ONLY, make_engine
from streamgauge.storage.hourly import floor_hour
from streamgauge.storage.rollup import (
    Step,
    advance,
    all_devices,
    count_pending,
    horizon,
    mark_differences,
    next_window,
    read_through,
    roll_up,
    roll_up_marked,
)
from tasks.services import ServiceHolder

BEAT = {
    "rollup": {"task": ROLLUP_TASK, "schedule": timedelta(seconds=60), "options": {"queue": BATCH, "expires": 55}},
    "look-again-at-rollup": {
        "task": LOOK_AGAIN_TASK,
        "schedule": crontab(minute="41", hour="1"),
        "options": {"queue": BATCH, "expires": 3600},
    },
}
BUDGET_S = 40.0
"""A call begins no further step after so long; the next one goes on."""
STEP_S = 1.0
"""So long a step is to take."""
FIRST_HOURS, MOST_HOURS = 6, 31 * 24
FIRST_MARKS, MOST_MARKS = 200, 5_000
MOST_COUNTED = 1_000_000
LOOK_BACK = timedelta(days=7)
"""So much is looked at again every night."""
LOOK_AGAIN_FOR = timedelta(hours=5)
"""After so long a night's look ends, wherever it is."""
GIVE_WAY_S = 30.0

log = logging.getLogger("streamgauge.rollup")


@dataclass(slots=True)
class Done:
    """What a call came to; ``is_left``: more waits."""

    readings: int = 0
    hours: int = 0
    steps: int = 0
    through: datetime | None = None
    is_left: bool = False
    marked: int = 0


class Pace:
    """How much a step takes on, so that it lasts about ``STEP_S``."""

    def __init__(self, first: int, most: int) -> None:
        self.amount, self._most = first, most

    def took(self, seconds: float, fits: int | None = None) -> None:
        """Learn from a step: at most four times more or less than it, or than as much of it as was not too many readings."""
        self.amount = min(self.amount, fits or self.amount)
        factor = min(4.0, max(0.25, STEP_S / max(seconds, 1e-3)))
        self.amount = max(1, min(self._most, int(self.amount * factor)))


def roll_on(
    engine: Engine,
    budget_s: float = BUDGET_S,
    *,
    gives_way: Callable[[], bool] = lambda: False,
    rest: Callable[[float], None] = time.sleep,
    tell: Callable[[Done], None] = lambda _done: None,
) -> Done:
    """Roll up what was marked, then what has come to rest, until nothing is left or the time is up.

    Args:
        engine: of the database.
        budget_s: no step begins after so long.
        gives_way: whether somebody waits who is in more of a hurry.
        rest: called after each step with how long it took.
        tell: called after each step.
    """
    done, began_s = Done(), time.monotonic()
    marks, hours = Pace(FIRST_MARKS, MOST_MARKS), Pace(FIRST_HOURS, MOST_HOURS)
    for pace, step in ((marks, roll_up_marked), (hours, advance)):
        while True:
            if time.monotonic() - began_s > budget_s or gives_way():
                done.is_left = True
                break
            started_s = time.monotonic()
            with engine.begin() as connection:
                made = step(connection, pace.amount)
            if made is None:
                break
            took_s = time.monotonic() - started_s
            pace.took(took_s, made.fits)
            _count(done, made)
            tell(done)
            rest(took_s)
    if done.steps:
        log.info(
            "rolled up",
            extra={"readings": done.readings, "hours": done.hours, "through": str(done.through), "more": done.is_left},
        )
    return done


def roll_anew(engine: Engine, device_ids: Sequence[int] | None, tell: Callable[[Done], None]) -> Done:
    """Roll up everything again that is rolled up; of these devices, or of all."""
    done, pace, at = Done(), Pace(FIRST_HOURS, MOST_HOURS), None
    while True:
        started_s = time.monotonic()
        with engine.begin() as connection:
            ids = all_devices(connection) if device_ids is None else device_ids
            through, window = read_through(connection), next_window(connection, ids, at, pace.amount)
            if through is None or window is None or window.since >= through:
                return done
            made = roll_up(connection, ids, window.since, min(window.until, through))
        at = window.until
        pace.took(time.monotonic() - started_s, window.fits)
        _count(done, replace(made, through=at))
        tell(done)


def look_again(
    engine: Engine,
    since: datetime | None,
    budget_s: float = BUDGET_S,
    *,
    gives_way: Callable[[], bool] = lambda: False,
    rest: Callable[[float], None] = time.sleep,
    tell: Callable[[Done], None] = lambda _done: None,
) -> Done:
    """Compare what is rolled up with the readings, and mark the hours that differ for the next step.

    Args:
        engine: of the database.
        since: where to begin, a whole hour; None for the beginning of the record.
        budget_s: no step begins after so long.
        gives_way: whether somebody waits who is in more of a hurry.
        rest: called after each step with how long it took.
        tell: called after each step.

    Returns:
        What was done; ``through`` says where to go on if something is left.
    """
    done, pace, began_s = Done(through=since), Pace(FIRST_HOURS, MOST_HOURS), time.monotonic()
    while True:
        if time.monotonic() - began_s > budget_s or gives_way():
            done.is_left = True
            break
        started_s = time.monotonic()
        with engine.begin() as connection:
            ids, through = all_devices(connection), read_through(connection)
            window = next_window(connection, ids, done.through, pace.amount)
            if through is None or window is None or window.since >= through:
                break
            readings, marked = mark_differences(connection, ids, window.since, min(window.until, through))
        took_s = time.monotonic() - started_s
        pace.took(took_s, window.fits)
        done.marked += marked
        _count(done, Step(readings=readings, hours=0, through=window.until, fits=window.fits))
        tell(done)
        rest(took_s)
    if done.steps:
        # Nothing differs while all writers are of this version: it is worth a look if something does.
        log.log(
            logging.WARNING if done.marked else logging.INFO,
            "roll-up compared with its readings",
            extra={"readings": done.readings, "differing_hours": done.marked, "more": done.is_left},
        )
    return done


def _count(done: Done, made: Step) -> None:
    done.readings += made.readings
    done.hours += made.hours
    done.steps += 1
    done.through = made.through


def live_readings_wait(redis: Redis, at_least: int) -> bool:
    """Whether so many tasks with readings wait for a worker. A Redis that does not answer is waited for by others."""
    try:
        return queue_length(redis, READINGS) >= at_least
    except RedisError:
        return False


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code."""

    @app.task(name=ROLLUP_TASK, ignore_result=True, shared=False)
    def rollup_task() -> None:
        services, tasks = holder.get(), holder.settings.rescore_give_way_tasks
        roll_on(services.engine, gives_way=lambda: live_readings_wait(services.redis, tasks))

    @app.task(name=LOOK_AGAIN_TASK, ignore_result=True, shared=False)
    def look_again_task(since: str | None = None, until: str | None = None) -> None:
        services, tasks, now = holder.get(), holder.settings.rescore_give_way_tasks, datetime.now(UTC)
        begin = datetime.fromisoformat(since) if since else floor_hour(now - LOOK_BACK)
        end = datetime.fromisoformat(until) if until else now + LOOK_AGAIN_FOR
        done = look_again(services.engine, begin, gives_way=lambda: live_readings_wait(services.redis, tasks))
        if done.is_left and now < end:
            left = {"since": (done.through or begin).isoformat(), "until": end.isoformat()}
            look_again_task.apply_async(kwargs=left, queue=BATCH, countdown=0 if done.steps else GIVE_WAY_S)


def main(arguments: Sequence[str] | None = None) -> None:
    """Roll up by hand, or say how far it is, as one JSON object."""
    given = _parser().parse_args(arguments)
    try:
        settings = load(WorkerSettings, os.environ)
    except SettingsError as error:
        sys.exit(str(error))
    logs.configure("rollup", "WARNING")
    engine = make_engine(settings.database_url, application_name="streamgauge-rollup", planner=INDEX_LOOKUPS_ONLY)
    tell = _teller()
    if given.device:
        with engine.connect() as connection:
            devices = find_devices(connection, given.device)
        if unknown := set(given.device) - devices.keys():
            sys.exit(f"Not registered: {', '.join(sorted(unknown))}")
        roll_anew(engine, [device.id for device in devices.values()], tell)
    if given.all:
        roll_anew(engine, None, tell)
    if given.check:
        looked = look_again(engine, None, float("inf"), rest=lambda _seconds: None, tell=tell)
        print(f"{looked.marked:,} hours differ from their readings", file=sys.stderr)
    if given.all or given.check or given.through:
        roll_on(engine, float("inf"), rest=lambda _seconds: None, tell=tell)
    with engine.connect() as connection:
        through, marks = read_through(connection), count_pending(connection, MOST_COUNTED)
        state = {"through": through, "may_be": horizon(connection), "marked_hours": marks}
    print(orjson.dumps(state, option=orjson.OPT_UTC_Z).decode())


def _teller() -> Callable[[Done], None]:
    began_s, told = time.monotonic(), [0.0]

    def tell(done: Done) -> None:
        now_s = time.monotonic()
        if now_s - told[0] < 1.0:
            return
        told[0] = now_s
        rate = done.readings / max(now_s - began_s, 1e-3)
        reached = f"{done.through:%Y-%m-%d %H:%M}" if done.through else "-"
        print(f"through {reached}: {done.readings:,} readings, {rate:,.0f} readings/s", file=sys.stderr, flush=True)

    return tell


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.rollup", description="The hourly roll-up; without options: its state."
    )
    parser.add_argument("--through", action="store_true", help="roll up what is not rolled up yet, as far as it may be")
    parser.add_argument(
        "--check", action="store_true", help="compare everything with its readings, and mend what differs"
    )
    parser.add_argument("--all", action="store_true", help="roll up everything anew")
    parser.add_argument("--device", action="append", help="roll up this station anew; may be given several times")
    return parser


if __name__ == "__main__":
    main()
