"""The gateway: frames decoded and verified on one core, memory and start of the real process, a day's backlog drained."""

import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from gateway.buffer.buffer import Buffer
from gateway.configuration import read_configuration
from gateway.entries import Entry, Parcel
from gateway.journal import Journal
from gateway.judging.predict import Predictor
from gateway.pipeline import Pipeline, Surroundings
from gateway.radio.network import Network
from gateway.radio.sessions import SessionStore
from gateway.refused import RefusedPayloads
from streamgauge.lorawan import gwmp
from streamgauge.quality.series import CONTEXT_ROWS
from streamgauge.reading import Reading, from_microseconds, to_microseconds
from streamgauge.scoring.edge import EdgeModel
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import UNSEEN
from streamgauge.settings import EARLIEST_READING_TIME
from streamgauge.wire import Limits
from tests.benchmarks.bench import Bench, BenchFailed
from tests.benchmarks.radio_load import FORWARDER, KEY, configuration, datagrams, fleet, reception
from tests.benchmarks.report import Result, median_result, say
from tests.support.gateway import Gateway

SENSORS = 500
PREDICT_TARGET_MS = 5.0
DECODE_TARGET, MEMORY_TARGET_MB, START_TARGET_S = 4_000, 150, 5.0
DAY_MINUTES = 1_440
LIVE_TARGET_S = 2.0
DRAIN_TIMEOUT_S = 900.0
LIMITS = Limits(2**22, 20_000, EARLIEST_READING_TIME, timedelta(minutes=10))


class NoDisk:
    """Stands for the keeper where only the way to it is measured: takes everything and has it done at once."""

    def __init__(self) -> None:
        self.readings = 0

    def has_room(self) -> bool:
        """Always."""
        return True

    def submit(self, parcel: Parcel) -> bool:
        """Counted."""
        self.readings += len(parcel.entries)
        assert parcel.done is not None
        parcel.done()
        return True

    def improve(self, *_: Any) -> None:
        """Nothing."""


def decode(bench: Bench) -> Result:
    """Datagrams to readings: parsed, de-duplicated, counters recovered, MIC verified, decrypted, decoded, put above the datum."""
    sensors = fleet(SENSORS)
    rounds = 4 if bench.sizes.rounds == 1 else 40
    rates = []
    for number in range(bench.sizes.rounds):
        made = list(datagrams(sensors, rounds))
        with tempfile.TemporaryDirectory() as folder:
            pipeline, keeper = _pipeline(Path(folder), configuration(sensors))
            begun_s = time.process_time()
            for datagram in made:
                packet = gwmp.parse(datagram)
                assert isinstance(packet, gwmp.PushData)
                pipeline.take_frames(packet.receptions, lambda: None)
            spent_s = time.process_time() - begun_s
        if keeper.readings != SENSORS * rounds:
            raise BenchFailed(f"{SENSORS * rounds} frames gave {keeper.readings} readings")
        rates.append(keeper.readings / spent_s)
        say(f"gateway_decode: round {number + 1}: {rates[-1]:,.0f} frames per CPU second")
    met = sorted(rates)[len(rates) // 2] >= DECODE_TARGET
    detail = {
        "what": "frames per CPU second of one core, from datagram to reading, without the disk",
        "sensors": SENSORS,
    }
    return median_result(
        "gateway_decode", "frames/s", rates, target=f"≥ {DECODE_TARGET:,} frames/s", met=met, detail=detail
    )


def process(bench: Bench) -> Result:
    """The real process with 500 sensors: from its start to the first reading kept, and its memory after each has sent 20."""
    sensors = fleet(SENSORS)
    starts_s, sizes_mb = [], []
    for number in range(bench.sizes.rounds):
        with tempfile.TemporaryDirectory() as folder:
            gateway = _gateway(bench, Path(folder), configuration(sensors))
            pushed = list(datagrams(sensors, 21))
            begun_s = time.monotonic()
            gateway.process.ready = lambda _: True
            gateway.process.start()
            with _forwarder(gateway) as forwarder:
                _send_until_acknowledged(forwarder, pushed[0])
                starts_s.append(time.monotonic() - begun_s)
                for datagram in pushed[1:]:
                    _send_until_acknowledged(forwarder, datagram)
            time.sleep(3.0)
            sizes_mb.append(psutil.Process(gateway.process.pid).memory_info().rss / 1e6)
            gateway.stop()
        say(
            f"gateway_process: round {number + 1}: first reading after {starts_s[-1]:.2f} s, {sizes_mb[-1]:.0f} MB resident"
        )
    met = max(starts_s) < START_TARGET_S and max(sizes_mb) < MEMORY_TARGET_MB
    detail = {
        "what": "resident memory with the model loaded and 10,500 frames heard; start to the first reading kept, in seconds",
        "start_s": [round(one, 2) for one in starts_s],
    }
    target = f"< {MEMORY_TARGET_MB} MB, first reading < {START_TARGET_S:g} s"
    return median_result("gateway_process", "MB", sizes_mb, target=target, met=met, detail=detail)


def predict(bench: Bench) -> Result:
    """One reading after the other through the local checks and model, as they come from one station in a flood."""
    record = read_record(UNSEEN)
    count = 300 if bench.sizes.rounds == 1 else 3_000
    levels = [
        Reading(device="weir", time=from_microseconds(int(at_us)), level_m=float(level_m))
        for at_us, level_m in zip(record.time_us[:count], record.level_m[:count], strict=True)
    ]
    slowest_ms, p99s_ms, medians_ms = [], [], []
    for _ in range(bench.sizes.rounds):
        predictor = Predictor(EdgeModel.load())
        predictor.observe(levels[:CONTEXT_ROWS], to_microseconds(levels[-1].time))
        took_ms = []
        for each in levels[CONTEXT_ROWS:]:
            begun_s = time.perf_counter()
            predictor.observe([each], to_microseconds(levels[-1].time))
            took_ms.append(1_000 * (time.perf_counter() - begun_s))
        took_ms.sort()
        medians_ms.append(took_ms[len(took_ms) // 2])
        p99s_ms.append(took_ms[int(len(took_ms) * 0.99)])
        slowest_ms.append(took_ms[-1])
    say(f"gateway_predict: p50 {medians_ms[-1]:.2f} ms, p99 {p99s_ms[-1]:.2f} ms, slowest {slowest_ms[-1]:.2f} ms")
    detail = {
        "what": "wall time of checking, expecting and scoring one reading, and of what to expect next; p99 of each round",
        "p50_ms": [round(one, 3) for one in medians_ms],
        "slowest_ms": [round(one, 3) for one in slowest_ms],
    }
    return Result(
        bench="gateway_predict",
        value=round(statistics.median(p99s_ms), 3),
        unit="ms (p99)",
        rounds=[round(one, 3) for one in p99s_ms],
        target=f"≤ {PREDICT_TARGET_MS:g} ms",
        met=max(p99s_ms) <= PREDICT_TARGET_MS,
        detail=detail,
    )


def drain(bench: Bench) -> Result:
    """A day of 500 sensors, a reading a minute, from a gateway that was cut off, into the whole system, while live goes on."""
    bench.start_system()
    sensors = fleet(SENSORS)
    minutes = 60 if bench.sizes.rounds == 1 else DAY_MINUTES
    with tempfile.TemporaryDirectory() as folder:
        gateway = _gateway(bench, Path(folder), configuration(sensors))
        _fill(gateway.folder / "state", [sensor.name for sensor in sensors], minutes)
        backlog = SENSORS * minutes
        say(f"gateway_drain: {backlog:,} readings wait")
        begun_s = time.time()
        gateway.start()
        sent_at = _live_while(bench, gateway, sensors, backlog)
        drained_s = bench.system.scalar("SELECT extract(epoch FROM max(stored_at)) FROM readings WHERE seq IS NULL")
        delays_s = _delays(bench, sent_at)
        doubled = bench.system.scalar(
            "SELECT count(*) - count(DISTINCT (device_id, seq)) FROM readings WHERE seq IS NOT NULL"
        )
        gateway.stop()
    if doubled:
        raise BenchFailed(f"{doubled} readings are doubled")
    rate = backlog / (float(drained_s) - begun_s)
    say(f"gateway_drain: {rate:,.0f}/s; live delayed {max(delays_s):.2f} s at most, {len(delays_s)} sent meanwhile")
    detail = {
        "what": "from the gateway's start to the last commit in Postgres, all parts on this machine",
        "backlog": backlog,
        "seconds": round(float(drained_s) - begun_s, 1),
        "live_readings": len(delays_s),
        "live_delay_p50_s": round(delays_s[len(delays_s) // 2], 3),
        "live_delay_p99_s": round(delays_s[int(len(delays_s) * 0.99)], 3),
        "live_delay_max_s": round(delays_s[-1], 3),
    }
    return Result(
        bench="gateway_drain",
        value=round(rate, 1),
        unit="readings/s",
        rounds=[rate],
        target=f"live delayed < {LIVE_TARGET_S:g} s",
        met=delays_s[-1] < LIVE_TARGET_S,
        detail=detail,
    )


def _pipeline(folder: Path, toml: str) -> tuple[Pipeline, NoDisk]:
    path = folder / "gateway.toml"
    path.write_text(toml)
    found = read_configuration(path, KEY)
    keeper = NoDisk()
    network = Network(found.devices.values(), SessionStore(folder / "sessions.db", KEY), {})
    around = Surroundings(
        devices=found.devices,
        network=network,
        keeper=keeper,  # type: ignore[arg-type]
        journal=Journal(),
        refused=RefusedPayloads(folder),
        send_downlink=lambda _: None,
        is_precious=lambda _: False,
        limits=LIMITS,
        now_us=lambda: time.time_ns() // 1_000,
    )
    return Pipeline(around), keeper


def _gateway(bench: Bench, folder: Path, toml: str) -> Gateway:
    settings = {"STREAMGAUGE_GATEWAY_UDP_RATE": "100000"}
    gateway = Gateway(bench.system, folder / "gateway", key=KEY, settings=settings)
    gateway.configure(toml)
    return gateway


def _forwarder(gateway: Gateway) -> socket.socket:
    forwarder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    forwarder.connect(("127.0.0.1", gateway.udp_port))
    forwarder.settimeout(0.05)
    return forwarder


def _send_until_acknowledged(forwarder: socket.socket, datagram: bytes) -> None:
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        try:
            forwarder.send(datagram)
            if forwarder.recv(64)[1:3] == datagram[1:3]:
                return
        except (TimeoutError, ConnectionRefusedError):
            time.sleep(0.002)
    raise BenchFailed("the gateway does not acknowledge")


def _fill(directory: Path, devices: list[str], minutes: int) -> None:
    """What a gateway has kept that was cut off: a reading of each device every minute, up to now."""
    buffer = Buffer(directory, max_bytes=2**31)
    now_us = time.time_ns() // 1_000 // 60_000_000 * 60_000_000
    for minute in range(minutes):
        at_us = now_us - (minutes - minute) * 60_000_000
        time_of_reading = from_microseconds(at_us)
        levels_m = [round(2.0 + number % 97 / 1000 + minute % 60 / 1000, 3) for number in range(len(devices))]
        entries = [
            Entry(Reading(device=device, time=time_of_reading, level_m=level_m), at_us)
            for device, level_m in zip(devices, levels_m, strict=True)
        ]
        buffer.append([Parcel(entries)])
    buffer.close()


def _live_while(bench: Bench, gateway: Gateway, sensors: list[Any], backlog: int) -> dict[tuple[str, int], float]:
    """Every sensor sends once a minute until the backlog is stored; returns when each frame left, seconds since 1970."""
    sent_at: dict[tuple[str, int], float] = {}
    stored: Callable[[], Any] = lambda: bench.system.scalar("SELECT count(*) FROM readings WHERE seq IS NULL")  # noqa: E731
    deadline_s, next_look_s, token = time.monotonic() + DRAIN_TIMEOUT_S, 0.0, 0
    pause_s = 60.0 / len(sensors)
    with _forwarder(gateway) as forwarder:
        forwarder.setblocking(False)
        while time.monotonic() < deadline_s:
            sensor, f_cnt = sensors[token % len(sensors)], 1 + token // len(sensors)
            token += 1
            forwarder.send(gwmp.make_push_data(token % 65_536, FORWARDER, [reception(sensor.uplink(f_cnt))]))
            sent_at[sensor.name, f_cnt] = time.time()
            if time.monotonic() >= next_look_s:
                next_look_s = time.monotonic() + 2.0
                if stored() >= backlog:
                    return sent_at
            time.sleep(pause_s)
    raise BenchFailed(f"{stored()} of {backlog} are stored after {DRAIN_TIMEOUT_S:g} s")


def _delays(bench: Bench, sent_at: dict[tuple[str, int], float]) -> list[float]:
    """From sending to commit, seconds, ascending."""
    time.sleep(3.0)
    query = (
        "SELECT devices.name, seq, extract(epoch FROM stored_at) FROM readings JOIN devices ON devices.id = device_id "
        "WHERE seq IS NOT NULL"
    )
    stored_at = {(name, seq): float(at) for name, seq, at in bench.system.rows(query)}
    missing = sent_at.keys() - stored_at.keys()
    if missing:
        raise BenchFailed(f"{len(missing)} live readings did not arrive")
    return sorted(stored_at[key] - at for key, at in sent_at.items())
