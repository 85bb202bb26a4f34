"""The fleet over real sockets against a small network server made of ``streamgauge.lorawan``."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulator import send_radio
from simulator.air import AirOptions
from simulator.errors import InputFault, Unreachable
from simulator.fleet import Fleet
from simulator.forwarder import ForwarderOptions
from simulator.provision import plan_fleet, provision
from simulator.radio import RadioOptions
from simulator.send_radio import RadioSender, RadioSendOptions
from simulator.unanswered import RepeatOptions
from streamgauge.payloads import registry
from streamgauge.reading import Reading
from tests.support.tiny_network import TinyNetwork

START = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
KEY = "k" * 64


def fleet_of(tmp_path: Path, devices: int, activation: str = "otaa", model: str = "decentlab_dl_mbx") -> Fleet:
    return provision(tmp_path / "fleet", plan_fleet("s", devices, [model], {}, {}, activation), 2, KEY)


@contextmanager
def on_air(
    fleet: Fleet, network: TinyNetwork | None = None, **changes: Any
) -> Iterator[tuple[TinyNetwork, RadioSender]]:
    network = network or TinyNetwork(fleet)
    sending = {name: changes.pop(name) for name in list(changes) if name in RadioSendOptions.__dataclass_fields__}
    forwarder = ForwarderOptions(repeat=RepeatOptions(first_wait_s=0.1, longest_wait_s=0.2))
    radio = RadioOptions(**{"gateway": network.address, "hurried": True, "forwarder": forwarder, **changes})
    with closing(network), closing(RadioSender(fleet, RadioSendOptions(radio=radio, **sending))) as sender:
        yield network, sender


def readings(fleet: Fleet, each: int, step: timedelta = timedelta(seconds=1)) -> list[Reading]:
    return [
        Reading(device=card.name, time=START + turn * step, level_m=1.0 + turn / 1_000)
        for turn in range(each)
        for card in fleet.sensors
    ]


def send(sender: RadioSender, all_readings: list[Reading]) -> None:
    sender.ledger.to_send = len(all_readings)
    for reading in all_readings:
        sender.send(reading)
    sender.finish()


def levels(network: TinyNetwork, fleet: Fleet) -> dict[tuple[str, int], float]:
    """What each frame's payload says, by sensor and counter."""
    codec = registry.find("decentlab_dl_mbx")
    heights = {card.name: card.installation["sensor_height_m"] for card in fleet.sensors}
    return {
        (name, f_cnt): heights[name] - codec.decode(payload, 1, {}).samples[0].values["distance_m"]
        for (name, f_cnt), payload in network.payloads.items()
    }


def test_a_sensor_joins_and_its_first_ten_uplinks_hold_what_it_measured(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 1)
    with on_air(fleet) as (network, sender):
        send(sender, readings(fleet, 10))
        found = levels(network, fleet)
    assert found == pytest.approx({("s", turn): 1.0 + turn / 1_000 for turn in range(10)})
    ledger = sender.ledger
    assert (ledger.joins_sent, ledger.joins_accepted, ledger.acknowledged, ledger.unanswered) == (1, 1, 10, 0)
    assert ledger.complete()
    assert {reception.forwarder for reception in network.receptions} == set(fleet.forwarders)
    times = {reception.time for reception in network.receptions[2:]}
    assert times >= {START + timedelta(seconds=turn) for turn in range(10)}


def test_in_its_window_a_sensor_hears_the_accept_after_five_seconds(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 1)
    before = datetime.now(UTC)
    with on_air(fleet, hurried=False) as (network, sender):
        assert timedelta(seconds=4.9) < datetime.now(UTC) - before < timedelta(seconds=7)
        send(sender, readings(fleet, 1))
    assert network.tx_acks == [None]


def test_confirmed_frames_hear_their_acknowledgement(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 3)
    with on_air(fleet, confirm_every=2) as (network, sender):
        for reading in readings(fleet, 6):
            sender.send(reading)
            sender.wait(0.03)
        sender.finish()
    assert (sender.ledger.confirmed, sender.ledger.confirmed_acknowledged) == (9, 9)
    assert len(network.payloads) == 18


def test_a_personalised_sensor_counts_on_from_one_run_to_the_next(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 2, activation="abp")
    network = TinyNetwork(fleet)
    for _ in range(2):
        network = TinyNetwork(fleet)
        with on_air(fleet, network, state_folder=tmp_path / "fleet") as (_, sender):
            send(sender, readings(fleet, 5))
            assert sender.ledger.joins_sent == 0
    assert {f_cnt for _, f_cnt in network.payloads} == {5, 6, 7, 8, 9}


def test_each_run_joins_under_a_nonce_never_used_before(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 2)
    nonces: list[tuple[str, int]] = []
    for _ in range(3):
        with on_air(fleet, state_folder=tmp_path / "fleet") as (network, _):
            nonces += network.dev_nonces
    assert len(nonces) == len(set(nonces)) == 6


def test_the_counter_is_longer_than_what_the_air_carries(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 1, activation="abp")
    with on_air(fleet) as (network, sender):
        session = sender._sensors["s"].session
        assert session is not None
        session.f_cnt = 65_530
        send(sender, readings(fleet, 12))
    assert [f_cnt for _, f_cnt in sorted(network.payloads)] == list(range(65_530, 65_542))
    assert network.refused == 0


def test_bad_air_loses_only_what_the_ledger_says(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 20, activation="abp")
    truth = tmp_path / "truth.jsonl"
    air = AirOptions(loss=0.2, repeat=0.1, reorder=0.05, delay_s=0.02, seed=3)
    with on_air(fleet, air=air, udp_loss=0.05, truth=truth) as (network, sender):
        send(sender, readings(fleet, 100))
        ledger = sender.ledger
    lines = [json.loads(line) for line in truth.read_text().splitlines()]
    kept = {(line["device"], line["seq"]): line["level_m"] for line in lines if line["fate"] == "kept"}
    assert len(lines) == ledger.sent == 2_000
    assert len(kept) == ledger.acknowledged == ledger.expected
    assert 40 <= ledger.lost_on_air <= 125  # 0.2 · 0.2
    assert ledger.given_up == 0
    assert ledger.complete()
    found = levels(network, fleet)
    assert found.keys() == kept.keys()
    assert found == pytest.approx(kept, abs=0.000_6)
    assert network.repeated > 1_000
    assert ledger.datagrams_repeated > 0


def test_a_gateway_that_does_not_acknowledge_gets_everything_again_and_counts_it_once(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 5, activation="abp")
    network = TinyNetwork(fleet, acknowledges=lambda number: number > 12)
    with on_air(fleet, network) as (_, sender):
        send(sender, readings(fleet, 40))
        assert sender.ledger.datagrams_repeated >= 10
    assert len(network.payloads) == sender.ledger.acknowledged == 200


def test_an_outage_is_outlived_in_order_while_sensors_go_on(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 2, activation="abp")
    network = TinyNetwork(fleet)
    is_away = True
    network.acknowledges = lambda _number: not is_away
    with on_air(fleet, network, air=AirOptions(loss=0.3, seed=5), window_each=0) as (_, sender):
        for turn in range(50):
            for card in fleet.sensors:
                sender.send(Reading(device=card.name, time=START + timedelta(seconds=turn), level_m=1.0))
            sender.wait(0.05)
        assert sender.ledger.acknowledged == 0
        is_away = False
        sender.finish()
        expected = sender.ledger.expected
    assert len(network.payloads) == expected == 100 - sender.ledger.lost_on_air


def test_a_sensor_that_nobody_answers_joins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_radio, "ACK_WAIT_S", 0.05)
    fleet = fleet_of(tmp_path, 1)
    with on_air(fleet, confirm_every=1) as (network, sender):
        send(sender, readings(fleet, 3))
        network.forget_sessions()
        for reading in readings(fleet, 20):
            sender.send(reading)
            sender.wait(0.02)
        sender.finish()
        assert sender.ledger.joins_accepted == 2
        assert network.refused > 0
        assert sender.ledger.confirmed_acknowledged > 3


def test_a_fleet_that_is_not_answered_gives_up_with_a_sentence(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 3)
    silent = TinyNetwork(fleet, answers_joins=False)
    with pytest.raises(Unreachable, match=r"3 of 3 sensors could not join"), on_air(fleet, silent, join_wait_s=0.5):
        pass


def test_a_gateway_that_is_not_there_ends_the_run_in_time(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 1, activation="abp")
    network = TinyNetwork(fleet)
    address = network.address
    network.close()
    options = RadioSendOptions(radio=RadioOptions(gateway=address), give_up_s=0.5)
    with closing(RadioSender(fleet, options)) as sender, pytest.raises(Unreachable, match="1 frames are without"):
        send(sender, readings(fleet, 1))


def test_without_a_window_a_sensor_that_has_not_joined_measures_nothing(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 2)
    with on_air(fleet, window=None) as (_, sender):
        sender._sensors["s-001"].session = None
        for reading in readings(fleet, 4):
            sender.send(reading)
        sender.finish()
    assert (sender.ledger.not_joined, sender.ledger.sent) == (4, 4)


def test_a_device_that_the_fleet_lacks_is_named(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 1, activation="abp")
    with on_air(fleet) as (_, sender), pytest.raises(InputFault, match="'other'"):
        sender.send(replace(readings(fleet, 1)[0], device="other"))
