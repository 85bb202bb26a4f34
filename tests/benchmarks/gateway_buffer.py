"""The gateway's buffer alone: readings in with every commit on the disk, a day of them opened, and handed over to a broker."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.broker import recipe
from embedded.ports import any_free
from embedded.processes import PROJECT
from embedded.processes import Keeper as Processes
from embedded.server import Server
from gateway.buffer.buffer import Buffer
from gateway.buffer.keeper import Keeper
from gateway.entries import CounterState, Entry, Parcel
from gateway.handover.batches import BatchOptions
from gateway.handover.publish import Publisher, PublishOptions
from streamgauge.mqtt.link import LinkOptions
from streamgauge.reading import Reading, from_microseconds
from tests.benchmarks.bench import Bench, BenchFailed
from tests.benchmarks.report import Result, median_result, say

GATEWAY = "bench-gateway"
SENSORS = 500
DAY_READINGS = SENSORS * 1_440
QUICK_READINGS = 20_000
IN_READINGS = 100_000
IN_TARGET, OUT_TARGET, OPEN_TARGET_S = 5_000, 20_000, 5.0
MAX_BYTES = 2 * 2**30
MAX_WAITING = 20_000
BEGIN_US = 1_790_000_000_000_000
TIMEOUT_S = 600.0


def put_in(bench: Bench) -> Result:
    """One frame a parcel, a reading and its counter, through the keeper: as fast as it commits."""
    readings = QUICK_READINGS if bench.sizes.rounds == 1 else IN_READINGS
    rates, cpu_rates = [], []
    for number in range(bench.sizes.rounds):
        entries = [_entry(place) for place in range(readings)]
        with tempfile.TemporaryDirectory() as folder, _buffer(Path(folder)) as buffer:
            keeper = Keeper(buffer, MAX_WAITING)
            keeper.start()
            begun_s, cpu_begun_s = time.monotonic(), time.process_time()
            for entry in entries:
                parcel = Parcel([entry], [CounterState(entry.reading.device, entry.reading.seq or 0, 1)])
                while not keeper.submit(parcel):
                    time.sleep(0.001)
            keeper.stop()
            rates.append(readings / (time.monotonic() - begun_s))
            cpu_rates.append(readings / (time.process_time() - cpu_begun_s))
            if buffer.count != readings:
                raise BenchFailed(f"{readings} readings went in, {buffer.count} are there")
        say(f"gateway_buffer_in: round {number + 1}: {rates[-1]:,.0f} readings/s, {cpu_rates[-1]:,.0f} per CPU second")
    target, met = f"≥ {IN_TARGET:,} readings/s", sorted(rates)[len(rates) // 2] >= IN_TARGET
    detail = {
        "what": "JSON made, committed, synchronised with the disk",
        "per_cpu_second": [round(one) for one in cpu_rates],
    }
    return median_result("gateway_buffer_in", "readings/s", rates, target=target, met=met, detail=detail)


def take_out(bench: Bench) -> Result:
    """A day's backlog over a real broker to a cloud that answers at once: batches made, sent, answered, deleted."""
    readings = QUICK_READINGS if bench.sizes.rounds == 1 else DAY_READINGS
    with tempfile.TemporaryDirectory() as folder, _broker(Path(folder) / "broker") as server, _cloud(server.url):
        _fill(Path(folder) / "gateway", readings)
        begun_s = time.monotonic()
        with _buffer(Path(folder) / "gateway") as buffer:
            open_s = time.monotonic() - begun_s
            begun_s, cpu_begun_s = time.monotonic(), time.process_time()
            _hand_over(buffer, server.url)
            rate = readings / (time.monotonic() - begun_s)
            cpu_rate = readings / (time.process_time() - cpu_begun_s)
    say(f"gateway_buffer_out: {rate:,.0f} readings/s, {cpu_rate:,.0f} per CPU second; opened in {open_s:.3f} s")
    detail = {
        "what": "readings per CPU second of the gateway's process; the rate over a broker and to a cloud on the same machine",
        "readings": readings,
        "per_second": round(rate),
        "open_s": round(open_s, 3),
    }
    met = cpu_rate >= OUT_TARGET and open_s < OPEN_TARGET_S
    target = f"≥ {OUT_TARGET:,}/s on one core, opened < {OPEN_TARGET_S:g} s"
    return median_result("gateway_buffer_out", "readings/CPU s", [cpu_rate], target=target, met=met, detail=detail)


def _hand_over(buffer: Buffer, url: str) -> None:
    keeper = Keeper(buffer, MAX_WAITING)
    link = LinkOptions(
        url=url, protocol="auto", client_id=GATEWAY, ca_file=None, receive_maximum=100, session_expiry_s=0, topics=()
    )
    options = PublishOptions(gateway=GATEWAY, version="bench", batches=BatchOptions())
    publisher = Publisher(link, keeper, buffer, options)
    stopping = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stopping.is_set,))
    keeper.start()
    thread.start()
    deadline_s = time.monotonic() + TIMEOUT_S
    try:
        while buffer.count:
            if time.monotonic() > deadline_s:
                raise BenchFailed(f"{buffer.count} readings are left after {TIMEOUT_S:g} s")
            time.sleep(0.01)
    finally:
        stopping.set()
        thread.join()
        keeper.stop()
        publisher.close()


@contextmanager
def _buffer(folder: Path) -> Iterator[Buffer]:
    buffer = Buffer(folder, max_bytes=MAX_BYTES)
    try:
        yield buffer
    finally:
        buffer.close()


def _fill(folder: Path, readings: int) -> None:
    with _buffer(folder) as buffer:
        for first in range(0, readings, 2_000):
            buffer.append([Parcel([_entry(place) for place in range(first, min(first + 2_000, readings))])])


def _entry(place: int) -> Entry:
    time_us = BEGIN_US + place * 120_017
    reading = Reading(
        device=f"station-{place % SENSORS:04d}",
        time=from_microseconds(time_us),
        level_m=1.2345 + place % 100 / 1_000,
        temperature_c=12.5,
        battery_v=3.6,
        rssi_dbm=-97.0,
        snr_db=7.5,
        seq=place // SENSORS,
    )
    return Entry(reading, time_us)


@contextmanager
def _broker(folder: Path) -> Iterator[Server]:
    processes = Processes()
    server = Server(recipe(folder, port=any_free(), password="only-for-benchmarks"), processes)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        processes.close()


@contextmanager
def _cloud(url: str) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.benchmarks.answering_cloud", GATEWAY]
    environment = os.environ | {"STREAMGAUGE_MQTT_URL": url}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline() != b"ready\n":
            raise BenchFailed("the answering cloud did not start")
        yield
        process.stdin.close()
