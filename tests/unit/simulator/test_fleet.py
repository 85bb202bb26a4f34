import json
import stat
from pathlib import Path

import pytest

from simulator.errors import InputFault
from simulator.fleet import Fleet, SensorCard, read_fleet, write_fleet
from simulator.fleet_state import FleetState

OTAA = SensorCard(
    name="a", model="decentlab_dl_mbx", dev_eui=bytes(range(8)), activation="otaa", join_eui=bytes(8), app_key=b"k" * 16,
    parameters={"range_m": 10.0}, installation={"sensor_height_m": 6.0},
)  # fmt: skip
ABP = SensorCard(
    name="b", model="decentlab_dl_mbx", dev_eui=bytes(range(1, 9)), activation="abp", dev_addr=b"\x26\x01\x1f\x00",
    nwk_s_key=b"n" * 16, app_s_key=b"a" * 16,
)  # fmt: skip
FLEET = Fleet(sensors=(OTAA, ABP), forwarders=(bytes.fromhex("AA555A0000000101"),))


def test_a_fleet_comes_back_as_it_was_written_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    write_fleet(tmp_path / "fleet.json", FLEET)
    assert read_fleet(tmp_path) == read_fleet(tmp_path / "fleet.json") == FLEET
    assert stat.S_IMODE((tmp_path / "fleet.json").stat().st_mode) == 0o600


def test_keys_are_not_shown() -> None:
    assert (b"k" * 16).hex() not in repr(OTAA)
    assert "kkkk" not in repr(OTAA) + repr(FLEET)


def test_every_bad_sensor_is_named_and_no_key_is_repeated(tmp_path: Path) -> None:
    write_fleet(tmp_path / "fleet.json", FLEET)
    tree = json.loads((tmp_path / "fleet.json").read_text())
    tree["sensors"][0]["app_key"] = "5EC2E7" * 3
    tree["sensors"][1]["name"] = "a/b"
    tree["sensors"][1]["dev_addr"] = None
    tree["sensors"].append("x")
    (tmp_path / "fleet.json").write_text(json.dumps(tree))
    with pytest.raises(InputFault) as caught:
        read_fleet(tmp_path)
    text = str(caught.value)
    for place in ("sensors[1].app_key", "sensors[2].name", "sensors[2].dev_addr", "sensors[3]"):
        assert place in text
    assert "5EC2E7" not in text


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 2, "sensors": [], "forwarders": []}'])
def test_what_is_no_fleet_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "fleet.json").write_text(text)
    with pytest.raises(InputFault, match=r"fleet\.json"):
        read_fleet(tmp_path)


def test_a_missing_fleet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputFault, match="simulator provision"):
        read_fleet(tmp_path)


def test_numbers_go_on_after_an_orderly_end(tmp_path: Path) -> None:
    state = FleetState(tmp_path, FLEET.sensors)
    assert [state.next_dev_nonce(OTAA.dev_eui) for _ in range(3)] == [0, 1, 2]
    state.used_f_cnt(ABP.dev_eui, 41)
    state.close()
    again = FleetState(tmp_path, FLEET.sensors)
    assert (again.next_dev_nonce(OTAA.dev_eui), again.f_cnt(ABP.dev_eui)) == (3, 42)
    again.close()


def test_no_number_is_used_twice_after_a_crash(tmp_path: Path) -> None:
    used: set[int] = set()
    highest = -1
    for _ in range(5):
        state = FleetState(tmp_path, FLEET.sensors)
        nonces = [state.next_dev_nonce(OTAA.dev_eui) for _ in range(40)]
        assert not used & set(nonces)
        used |= set(nonces)
        first = state.f_cnt(ABP.dev_eui)
        assert first > highest
        for highest in range(first, first + 9_000):
            state.used_f_cnt(ABP.dev_eui, highest)
        # As after SIGKILL: what is written is what was reserved, and the kernel lets go of the lock.
        copy = (tmp_path / "fleet-state.json").read_bytes()
        state.close()
        (tmp_path / "fleet-state.json").write_bytes(copy)
    assert highest - 5 * 9_000 < 5 * 2 * 4_096


def test_two_processes_cannot_use_one_fleet(tmp_path: Path) -> None:
    state = FleetState(tmp_path, FLEET.sensors)
    with pytest.raises(InputFault, match="in use"):
        FleetState(tmp_path, FLEET.sensors)
    state.close()
    FleetState(tmp_path, FLEET.sensors).close()


def test_damaged_numbers_are_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "fleet-state.json").write_text("{")
    with pytest.raises(InputFault, match="damaged"):
        FleetState(tmp_path, FLEET.sensors)
