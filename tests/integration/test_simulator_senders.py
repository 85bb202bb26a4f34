"""The senders against a real broker, with a cloud that is late, silent, repeats itself or talks nonsense."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from simulator_broker import GATEWAY, FakeCloud, broker_at, running_broker, until

from embedded.server import Server
from simulator.errors import Refused, Unreachable
from simulator.mqtt_link import Broker
from simulator.send_batches import BatchOptions, BatchSender
from simulator.send_single import SingleOptions, SingleSender
from simulator.sending import AtOnce, ByRate, ByTheirTimes, send_all
from streamgauge.reading import Reading

START = datetime(2026, 1, 1, tzinfo=UTC)


def readings(count: int) -> list[Reading]:
    return [Reading(device="a", time=START + timedelta(seconds=n), level_m=n / 1000) for n in range(count)]


def options(**changes: Any) -> BatchOptions:
    quick = {
        "gateway": GATEWAY,
        "batch_size": 10,
        "window": 8,
        "answer_wait_s": 0.3,
        "longest_wait_s": 2.0,
        "give_up_s": 60.0,
    }
    return BatchOptions(**{**quick, **changes})


def exactly(name: str, size: int = 10) -> Mapping[str, Any]:
    return {"batch": name, "stored": size, "dead": 0}


def assert_arrived(cloud: FakeCloud, sent: list[Reading]) -> None:
    assert [r["level_m"] for r in sorted(cloud.stored.values(), key=lambda r: r["time"])] == [r.level_m for r in sent]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    with running_broker(tmp_path) as server:
        yield server


def test_batches_are_done_only_when_answered_and_keep_order_and_values(broker: Server) -> None:
    sent = readings(95)
    with closing(FakeCloud(broker, lambda name, _: [exactly(name)])) as cloud:
        with closing(BatchSender(broker_at(broker), options())) as sender:
            send_all(sent, sender, AtOnce())
        until(lambda: cloud.statuses[-1:] == [{"online": False}])
        assert {"online": True} in cloud.statuses
    assert [r["level_m"] for batch in cloud.contents.values() for r in batch] == [r.level_m for r in sent]
    assert list(cloud.batches.values()) == [1] * 10
    ledger = sender.ledger
    assert (ledger.sent, ledger.unanswered, ledger.messages, ledger.resent) == (95, 0, 10, 0)
    assert ledger.complete()


def test_the_window_bounds_what_is_unanswered(broker: Server) -> None:
    with closing(FakeCloud(broker, lambda *_: [])) as cloud:
        with closing(BatchSender(broker_at(broker), options(window=3, answer_wait_s=30.0, give_up_s=1.0))) as sender:
            with pytest.raises(Unreachable, match="without a stored answer"):
                send_all(readings(100), sender, AtOnce())
            assert sender.ledger.sent == 30
            assert not sender.ledger.complete()
        assert len(cloud.batches) == 3


def test_a_batch_whose_answer_is_lost_leaves_again(broker: Server) -> None:
    with closing(FakeCloud(broker, lambda name, times: [exactly(name)] if times == 3 else [])) as cloud:
        with closing(BatchSender(broker_at(broker), options(answer_wait_s=0.1))) as sender:
            send_all(readings(40), sender, AtOnce())
        assert_arrived(cloud, readings(40))
    assert min(cloud.batches.values()) >= 3
    assert (sender.ledger.sent, sender.ledger.stored, sender.ledger.unanswered) == (40, 40, 0)
    assert sender.ledger.resent >= 80


def test_late_repeated_unknown_and_unreadable_answers_change_nothing(broker: Server) -> None:
    def answer(name: str, _times: int) -> list[Mapping[str, Any] | bytes]:
        nonsense: list[Mapping[str, Any] | bytes] = [
            b"\xff",
            b"[]",
            b'{"batch": 3}',
            b'{"batch":"x","stored":1e3,"dead":null}',
        ]
        return [*nonsense, exactly("never-sent"), exactly(name), exactly(name)]

    with closing(FakeCloud(broker, answer, delay_s=0.05)) as cloud:
        with closing(BatchSender(broker_at(broker), options())) as sender:
            send_all(readings(60), sender, AtOnce())
            sender.wait(0.3)
        assert_arrived(cloud, readings(60))
    ledger = sender.ledger
    assert (ledger.sent, ledger.stored, ledger.unanswered) == (60, 60, 0)
    assert ledger.answers_unknown >= 6
    assert ledger.answers_unreadable >= 24
    assert ledger.answers_repeated >= 6


def test_refused_readings_make_the_run_incomplete(broker: Server) -> None:
    def answer(name: str, _times: int) -> list[Mapping[str, Any] | bytes]:
        return [{"batch": name, "stored": 7, "dead": 3}]

    with closing(FakeCloud(broker, answer)), closing(BatchSender(broker_at(broker), options())) as sender:
        send_all(readings(20), sender, AtOnce())
    assert (sender.ledger.stored, sender.ledger.dead, sender.ledger.complete()) == (14, 6, False)


@pytest.mark.parametrize("kind", ["auto", "amqtt"])
def test_nothing_is_lost_or_invented_while_the_broker_is_killed(tmp_path: Path, kind: str) -> None:
    """The broker dies three times, without warning; the cloud loses a third of its answers and repeats another third."""
    chance = random.Random(20180603)

    def answer(name: str, _times: int) -> list[Mapping[str, Any] | bytes]:
        return [exactly(name)] * chance.choice([0, 1, 2])

    sent = readings(600)
    with running_broker(tmp_path, kind) as server, closing(FakeCloud(server, answer, delay_s=0.01)) as cloud:
        with closing(BatchSender(broker_at(server), options())) as sender:
            done = threading.Event()
            failures: list[BaseException] = []

            def replay() -> None:
                try:
                    send_all(sent, sender, ByRate(200.0))
                except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
                    failures.append(error)
                finally:
                    done.set()

            threading.Thread(target=replay, daemon=True).start()
            for arrived in (100, 250, 400):
                until(lambda arrived=arrived: len(cloud.stored) >= arrived, 30.0)
                server.kill()
                time.sleep(0.3)
                server.start()
            assert done.wait(60)
            assert not failures
        assert_arrived(cloud, sent)
    ledger = sender.ledger
    assert (ledger.sent, ledger.stored, ledger.dead, ledger.unanswered) == (600, 600, 0, 0)
    assert ledger.reconnections >= 3


def test_single_readings_are_done_when_the_broker_has_them(broker: Server) -> None:
    sent = readings(300)
    with closing(FakeCloud(broker, lambda *_: [])) as cloud:
        with closing(SingleSender(broker_at(broker), SingleOptions(window=20))) as sender:
            send_all(sent, sender, AtOnce())
        until(lambda: len(cloud.singles) >= 300)
        assert [r["level_m"] for r in cloud.singles] == [r.level_m for r in sent]
    ledger = sender.ledger
    assert (ledger.sent, ledger.acknowledged, ledger.stored, ledger.complete()) == (300, 300, None, True)


def test_single_readings_go_on_when_the_broker_comes_back(tmp_path: Path) -> None:
    with running_broker(tmp_path) as server:
        with closing(SingleSender(broker_at(server), SingleOptions(window=20))) as sender:
            sent = readings(200)
            send_all(sent[:100], sender, AtOnce())
            server.kill()
            threading.Timer(0.5, server.start).start()
            send_all(sent[100:], sender, AtOnce())
        assert (sender.ledger.sent, sender.ledger.acknowledged, sender.ledger.reconnections) == (200, 200, 1)


@pytest.mark.parametrize("way", ["batches", "single"])
def test_wrong_credentials_are_refused_at_once(broker: Server, way: str) -> None:
    wrong = Broker.from_url(broker.url.replace("only-for", "not-for"))
    sender = BatchSender(wrong, options()) if way == "batches" else SingleSender(wrong, SingleOptions())
    began_s = time.monotonic()
    with closing(sender), pytest.raises(Refused, match=r"refuses: .*Check the name and password"):
        send_all(readings(100), sender, AtOnce())
    assert time.monotonic() - began_s < 10


def test_a_broker_that_is_not_there_is_named(tmp_path: Path) -> None:
    with running_broker(tmp_path) as server:
        there = broker_at(server)
    with pytest.raises(Unreachable, match=f"no broker at mqtt://127.0.0.1:{there.port}"):
        BatchSender(there, options(connect_wait_s=0.3))


def test_a_batch_that_does_not_fill_leaves_by_age(broker: Server) -> None:
    with (
        closing(FakeCloud(broker, lambda name, _: [exactly(name, 1)])),
        closing(BatchSender(broker_at(broker), options(batch_age_s=0.1))) as sender,
    ):
        sender.send(readings(1)[0])
        sender.wait(1.5)
        assert sender.ledger.stored == 1


def test_paces(broker: Server) -> None:
    with (
        closing(FakeCloud(broker, lambda name, _: [exactly(name)])),
        closing(BatchSender(broker_at(broker), options())) as sender,
    ):
        for pace in (ByRate(50.0), ByTheirTimes(START, 50.0)):
            began_s = time.monotonic()
            send_all(readings(41), sender, pace)
            assert 0.75 <= time.monotonic() - began_s < 5.0
