"""What every benchmark works with: the running system, the naive pipeline beside it, and a publisher."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from redis import Redis
from sqlalchemy import text

from streamgauge.queue import STORED_KEY
from streamgauge.reading import Reading
from tests.benchmarks.naive import QUEUE, READY, insert_history, make_tables
from tests.benchmarks.processes import cpu_by_part, spent_s
from tests.benchmarks.report import say
from tests.benchmarks.water import Load
from tests.support.system import PROJECT, Process, System

STALL_S = 60.0
PUBLISH_TIMEOUT_S = 600.0
SETTLE_S = 0.5


class BenchFailed(Exception):
    """A benchmark that does not count: readings are missing or doubled, or nothing moves any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is done."""

    rounds: int
    devices: int
    naive_steps: int
    naive_one_thread_steps: int
    single_steps: int
    batch_steps: int
    delay_s: float
    delay_rate: float
    live_clients: int
    live_s: float


FULL = Sizes(
    rounds=3,
    devices=100,
    naive_steps=8,
    naive_one_thread_steps=15,
    single_steps=400,
    batch_steps=2_000,
    delay_s=30.0,
    delay_rate=50.0,
    live_clients=2_000,
    live_s=35.0,
)
QUICK = replace(
    FULL,
    rounds=1,
    naive_steps=2,
    naive_one_thread_steps=4,
    single_steps=40,
    batch_steps=200,
    delay_s=6.0,
    live_clients=150,
    live_s=4.0,
)


@dataclass(frozen=True, slots=True)
class Publishing:
    """How the publisher did: seconds since 1970, CPU seconds, and at a rate when each message was sent."""

    began: float
    ended: float
    cpu_s: float
    sent_at: list[float]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a throughput benchmark: readings per second, and CPU seconds by part."""

    rate: float
    seconds: float
    publishing_seconds: float
    cpu_s: dict[str, float]


class Bench:
    """Starts what is needed when it is needed; the system's owner stops it."""

    def __init__(self, system: System, sizes: Sizes) -> None:
        self.system = system
        self.sizes = sizes
        self.redis: Redis = Redis.from_url(system.stack.addresses.redis_url)
        naive_redis_url = system.stack.addresses.redis_url.removesuffix("/0") + "/1"
        self.environ = {**system.environ, "NAIVE_REDIS_URL": naive_redis_url}
        self.naive_worker = self._naive_part("naive_worker", *_celery(system.worker_processes))
        self._naive_threads, self._naive_history = 0, 0
        self.naive_subscriber = self._naive_part("naive_subscriber", "-m", "tests.benchmarks.naive")

    def start_system(self) -> None:
        """Worker and subscriber, and devices that are registered, as those of a running system are."""
        for part in (self.system.worker, self.system.subscriber):
            if not part.alive:
                part.start()

    def start_naive(self, threads: int) -> bool:
        """The naive pipeline, with its table; returns whether its worker was started anew.

        Args:
            threads: of XGBoost in each of its worker processes; 0 for XGBoost's default.
        """
        if self.naive_worker.alive and self._naive_threads == threads:
            return False
        make_tables(self.system.engine)
        self.naive_worker.stop()
        self._naive_threads = threads
        self.naive_worker.environ = {**self.naive_worker.environ, "NAIVE_NTHREAD": str(threads)}
        self.naive_worker.start()
        if not self.naive_subscriber.alive:
            self.naive_subscriber.start()
        return True

    def stop(self) -> None:
        """Stop what this started beside the system."""
        self.naive_subscriber.stop()
        self.naive_worker.stop()
        self.redis.close()

    def parts(self) -> dict[str, int | None]:
        """The process ids of all that runs."""
        system, stack = self.system, self.system.stack
        ours = {
            "subscriber": system.subscriber,
            "worker": system.worker,
            "batch_worker": system.batch_worker,
            "web": system.web,
        }
        naive = {"naive_subscriber": self.naive_subscriber, "naive_worker": self.naive_worker}
        pids = {name: part.pid for name, part in (ours | naive).items() if part.alive}
        return {**pids, "postgres": stack.postgres.pid, "redis": stack.redis.pid, "broker": stack.broker.pid}

    def send(self, load: Load, rate: float | None = None, begun: Callable[[], None] = lambda: None) -> Publishing:
        """Publish a load from a process of its own and wait until the broker has everything.

        Args:
            load: what to send.
            rate: messages per second; by default as fast as the broker acknowledges.
            begun: called at the moment before it begins.
        """
        path = self.system.directory / "messages.jsonl"
        path.write_bytes(b"\n".join(orjson.dumps([message.topic, message.payload]) for message in load.messages))
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.publisher",
            str(path),
            *(["--rate", str(rate)] if rate else []),
        ]
        with subprocess.Popen(
            command, env=self.environ, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise BenchFailed("the publisher did not come up; its error is above")
            begun()
            said, _ = process.communicate("go\n", timeout=PUBLISH_TIMEOUT_S)
        if process.returncode:
            raise BenchFailed(f"the publisher ended with exit code {process.returncode}; its error is above")
        return Publishing(**orjson.loads(said))

    def round(self, load: Load, count: Callable[[], int], poll_s: float, ended_at: Callable[[], float]) -> Round:
        """Send a load and wait until all of it is committed.

        Args:
            load: what to send.
            count: how many rows there are.
            poll_s: how often to ask.
            ended_at: when the last row was committed, seconds since 1970; asked once all are there.

        Raises:
            BenchFailed: rows are missing or too many.
        """
        before: dict[str, float] = {}
        publishing = self.send(load, begun=lambda: before.update(cpu_by_part(self.parts())))
        self._wait_for(load.readings, count, poll_s)
        seconds = ended_at() - publishing.began
        after = cpu_by_part(self.parts())
        time.sleep(SETTLE_S)
        if count() != load.readings:
            raise BenchFailed(f"{load.readings} readings were sent and {count()} are stored")
        cpu_s = spent_s(before, after) | {"publisher": round(publishing.cpu_s, 2)}
        return Round(load.readings / seconds, seconds, publishing.ended - publishing.began, cpu_s)

    def our_round(self, load: Load) -> Round:
        """A round through our system, whose last commit is dated by the worker's notice of it."""
        self.clear_readings()
        done = self.round(load, self.count_readings, 0.5, self.last_notice_at)
        lost = self.system.scalar("SELECT count(*) FROM dead_letters")
        if lost:
            raise BenchFailed(f"{lost} dead letters, and there should be none")
        return done

    def clear_readings(self) -> None:
        """Delete all readings; devices stay, as workers remember them."""
        self._execute("TRUNCATE readings")

    def count_readings(self) -> int:
        """How many readings are committed."""
        return int(self.system.scalar("SELECT count(*) FROM readings"))

    def clear_naive(self, history: Sequence[Reading]) -> None:
        """Delete the naive pipeline's readings and put a history there, which does not count."""
        self._execute("TRUNCATE naive_readings")
        insert_history(self.system.engine, history)
        self._naive_history = len(history)

    def count_naive(self) -> int:
        """How many readings the naive pipeline has committed, apart from the history."""
        return int(self.system.scalar("SELECT count(*) FROM naive_readings")) - self._naive_history

    def last_notice_at(self) -> float:
        """When the last task said that it is committed: its notice's id is a time, in milliseconds since 1970."""
        newest: Any = self.redis.xrevrange(STORED_KEY, count=1)
        return int(newest[0][0].decode().partition("-")[0]) / 1000.0

    def logs(self) -> str:
        """The ends of the parts' logs, for a failure's message."""
        parts = (self.system.subscriber, self.system.worker, self.naive_subscriber, self.naive_worker)
        return "\n".join(f"--- {part.name}\n{part.tail(8)}" for part in parts)

    def _wait_for(self, readings: int, count: Callable[[], int], poll_s: float) -> None:
        stored, moved_s = -1, time.monotonic()
        while (now := count()) < readings:
            if now != stored:
                stored, moved_s = now, time.monotonic()
            elif time.monotonic() - moved_s > STALL_S:
                raise BenchFailed(f"{readings} readings were sent, {now} are stored, and nothing moves\n{self.logs()}")
            time.sleep(poll_s)

    def _execute(self, statement: str) -> None:
        with self.system.engine.begin() as connection:
            connection.execute(text(statement))

    def _naive_part(self, name: str, *arguments: str) -> Process:
        return self.system._part(
            name, (sys.executable, *arguments), READY, {"NAIVE_REDIS_URL": self.environ["NAIVE_REDIS_URL"]}
        )


def _celery(processes: int) -> tuple[str, ...]:
    options = ("-Q", QUEUE, "-c", str(processes), "--without-gossip", "--without-mingle")
    return ("-m", "celery", "-A", "tests.benchmarks.naive", "worker", "-n", "naive@%h", *options)


def progress(name: str, number: int, done: Round) -> None:
    """Say how a round went."""
    say(f"{name}, round {number + 1}: {done.rate:,.0f} readings/s ({done.seconds:.1f} s)")
