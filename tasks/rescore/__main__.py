"""``python -m tasks.rescore``: score stored readings again, with a model of one's choice (docs/rescoring.md).

Exit codes: 0 done; 1 the run has failed, wholly or in part; 2 it was not asked for rightly; 3 it was cancelled; 4 database or
queue cannot be reached; 130 interrupted: the run itself goes on.
"""

import argparse
import getpass
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

import orjson
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from streamgauge.errors import QueueUnavailable, SettingsError
from streamgauge.queue import TEND_RUNS_TASK, enqueue_batch, make_producer
from streamgauge.settings import WorkerSettings, load
from streamgauge.storage.audit import write_audit
from streamgauge.storage.engine import make_engine
from streamgauge.storage.rescore import (
    CANCELLED,
    DONE,
    ON_DEMAND,
    Run,
    RunRefused,
    create_run,
    list_runs,
    read_run,
    request_cancel,
)
from tasks.rescore.console import list_line, progress_line, report_lines

OK, FAILED_RUN, REFUSED, WAS_CANCELLED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130
POLL_S = 0.5
LINE_EVERY_S = 5.0
"""So often a line is written where it cannot be overwritten."""
PATIENCE_S = 30.0
"""After so long without progress it is said that no worker seems to be there."""


def main(arguments: Sequence[str], out: TextIO = sys.stdout, err: TextIO = sys.stderr) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load(WorkerSettings, os.environ)
        engine = make_engine(settings.database_url, application_name="streamgauge-rescore")
        return _command(engine, settings.redis_url, options, out, err)
    except SettingsError as error:
        print(error, file=err)
        return REFUSED
    except RunRefused as error:
        for problem in error.problems:
            named = {"devices": "--device", "from": "--from", "until": "--until", "model": "--model"}
            print(f"{named.get(problem.field, 'run')}: {problem.detail}", file=err)
        return REFUSED
    except OperationalError as error:
        print(f"The database cannot be reached: {error.orig}".strip(), file=err)
        return UNREACHABLE


def _command(engine: Engine, redis_url: str, options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    if options.list:
        return _list(engine, options.json, out)
    if options.cancel is not None:
        return _cancel(engine, redis_url, options.cancel, out, err)
    run_id = options.run if options.run is not None else _create(engine, redis_url, options, err)
    if _read(engine, run_id) is None:
        print(f"There is no run {run_id}", file=err)
        return REFUSED
    if options.detach:
        print(f"Run {run_id} is asked for; follow it with --run {run_id}, cancel it with --cancel {run_id}", file=out)
        return OK
    try:
        run = _follow(engine, run_id, err)
    except KeyboardInterrupt:
        print(f"\nThe run goes on: follow it with --run {run_id}, cancel it with --cancel {run_id}", file=err)
        return INTERRUPTED
    _print_run(run, options.json, out)
    return {DONE: OK, CANCELLED: WAS_CANCELLED}.get(run.state, FAILED_RUN)


def _create(engine: Engine, redis_url: str, options: argparse.Namespace, err: TextIO) -> int:
    with engine.begin() as connection:
        created = create_run(
            connection,
            kind=ON_DEMAND,
            by=_actor(),
            devices=options.device,
            since=options.since,
            until=options.until or datetime.now(UTC),
            model=options.model,
        )
        if not created.merged:
            said = {"devices": options.device, "from": options.since.isoformat(), "model": options.model}
            write_audit(connection, actor=_actor(), action="rescore.start", subject=f"run {created.run_id}", after=said)
    if created.merged:
        print(f"Run {created.run_id} is open already and does the same: it is followed", file=err)
    _wake(redis_url, err)
    return created.run_id


def _list(engine: Engine, as_json: bool, out: TextIO) -> int:
    with engine.connect() as connection:
        runs = list_runs(connection)
    for run in runs:
        print(_json(run) if as_json else list_line(run), file=out)
    if not runs and not as_json:
        print("There are no runs yet", file=out)
    return OK


def _cancel(engine: Engine, redis_url: str, run_id: int, out: TextIO, err: TextIO) -> int:
    with engine.begin() as connection:
        asked = request_cancel(connection, run_id)
        if asked:
            write_audit(connection, actor=_actor(), action="rescore.cancel", subject=f"run {run_id}")
    if not asked:
        run = _read(engine, run_id)
        what = f"There is no run {run_id}" if run is None else f"Run {run_id} has ended already: it is {run.state}"
        print(what, file=err)
        return REFUSED
    _wake(redis_url, err)
    print(f"Run {run_id} ends after the chunks that are under way; what it wrote stays", file=out)
    return OK


def _follow(engine: Engine, run_id: int, err: TextIO) -> Run:
    """Show a run's progress until it has ended."""
    shown = _Progress(err)
    while True:
        run = _read(engine, run_id)
        assert run is not None
        shown.show(run, time.monotonic())
        if not run.open:
            return run
        time.sleep(POLL_S)


class _Progress:
    """One line that is overwritten at a terminal, a line now and then elsewhere."""

    def __init__(self, err: TextIO) -> None:
        self._err = err
        self._overwrites = err.isatty()
        self._line = ""
        self._said_s = -LINE_EVERY_S
        self._done = (-1, -1)
        self._moved_s = 0.0
        self._warned = False

    def show(self, run: Run, now_s: float) -> None:
        line = progress_line(run)
        if self._overwrites:
            end = "" if run.open else "\n"
            print(f"\r{line:<{len(self._line)}}", end=end, file=self._err, flush=True)
        elif run.open and now_s - self._said_s >= LINE_EVERY_S and line != self._line:
            print(line, file=self._err, flush=True)
            self._said_s = now_s
        self._line = line
        self._warn(run, now_s)

    def _warn(self, run: Run, now_s: float) -> None:
        done = (run.chunks, run.chunks_done + run.chunks_failed)
        if done != self._done:
            self._done, self._moved_s = done, now_s
        if run.open and now_s - self._moved_s > PATIENCE_S and not self._warned:
            words = "Nothing moves: is a worker of queue batch running (celery … --queues batch)?"
            print(f"\n{words}" if self._overwrites else words, file=self._err, flush=True)
            self._warned = True


def _read(engine: Engine, run_id: int) -> Run | None:
    with engine.connect() as connection:
        return read_run(connection, run_id)


def _wake(redis_url: str, err: TextIO) -> None:
    try:
        enqueue_batch(make_producer(redis_url), TEND_RUNS_TASK, expires_s=60)
    except QueueUnavailable as error:
        print(f"The batch worker could not be woken, beat will do it: {error}", file=err)


def _print_run(run: Run, as_json: bool, out: TextIO) -> None:
    if as_json:
        print(_json(run), file=out)
        return
    for line in report_lines(run):
        print(line, file=out)


def _json(run: Run) -> str:
    return orjson.dumps(run).decode()


def _actor() -> str:
    try:
        return f"command line ({getpass.getuser()})"
    except (KeyError, OSError):
        return "command line"


def _time(words: str) -> datetime:
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{words!r} is no RFC 3339 time, for example 2018-06-22T12:00:00Z") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{words!r} has no offset: add Z for UTC, or for example +07:00")
    return moment


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.rescore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--from", dest="since", type=_time, metavar="TIME", help="score readings from this time on again")
    what.add_argument("--run", type=int, metavar="RUN", help="follow a run that is there")
    what.add_argument("--cancel", type=int, metavar="RUN", help="end a run; what it wrote stays")
    what.add_argument("--list", action="store_true", help="the newest runs")
    parser.add_argument("--until", type=_time, metavar="TIME", help="up to this time, not included (default: now)")
    parser.add_argument(
        "--device", action="append", metavar="NAME", help="a station; may be given often (default: all)"
    )
    parser.add_argument(
        "--model", default="champion", metavar="MODEL", help="champion (default), challenger, or a model's SHA-256"
    )
    follow = parser.add_mutually_exclusive_group()
    follow.add_argument("--follow", action="store_true", help="show progress until it ends (default)")
    follow.add_argument("--detach", action="store_true", help="ask for it and leave")
    parser.add_argument("--json", action="store_true", help="the run as one JSON object instead of sentences")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
