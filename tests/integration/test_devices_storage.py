"""Rows of devices: written with what they were before in the audit log, searched, taken out of service and back."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.storage.device_rows import NOT_THERE, count_devices, models_of_siblings, write_devices
from streamgauge.storage.devices import (
    DeviceChanged,
    DeviceRow,
    EuiTaken,
    Registration,
    decommission,
    find_devices,
    list_devices,
    read_device_row,
    recommission,
    register_devices,
    write_device,
    write_registration,
)
from tasks import attribute, decode
from tasks.attribute import DeviceDirectory
from tasks.decode import SensorDirectory
from tests.support.ingest import ingest, series, services

EUI = "24E124713B101234"
WEIR = DeviceRow(
    name="weir",
    display_name="Weir at the mill",
    river="Sông Hồng",
    latitude=21.03,
    longitude=105.85,
    time_zone="Asia/Ho_Chi_Minh",
    datum="VN-2000",
    silence_limit_s=900,
    gross_min_m=-1.0,
    gross_max_m=15.5,
    stages=[{"name": "BĐ I", "level_m": 9.5, "severity": 1}],
    dev_eui=EUI,
    model="milesight_em500_udl",
    installation={"sensor_height_m": 12.0},
    quality={"rate_suspect_m_per_h": 2},
)


def audited(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT actor, action, subject, before, after FROM audit_log ORDER BY id")))


def save(engine: Engine, row: DeviceRow, seen: str | None = None) -> str:
    with engine.begin() as connection:
        return write_device(connection, row, actor="duty", seen=seen)


def test_what_is_written_is_read_and_each_change_is_audited_with_what_was_before(engine: Engine) -> None:
    assert save(engine, WEIR, seen=NOT_THERE) == "created"
    with engine.connect() as connection:
        stored = read_device_row(connection, "weir")
    assert stored is not None
    assert stored.said == WEIR.said
    assert save(engine, replace(stored, silence_limit_s=600, dev_eui=None), seen=stored.version) == "changed"
    assert save(engine, replace(stored, silence_limit_s=600, dev_eui=None)) == "same"
    first, second = audited(engine)
    assert (first.actor, first.action, first.subject, first.before) == ("duty", "device.register", "device weir", None)
    assert first.after["stages"] == WEIR.stages
    assert (second.action, second.before) == ("device.update", {"silence_limit_s": 900, "dev_eui": EUI})
    assert second.after == {"silence_limit_s": 600, "dev_eui": None}


def test_who_looked_at_something_older_changes_nothing(engine: Engine) -> None:
    save(engine, WEIR)
    with engine.connect() as connection:
        stored = read_device_row(connection, "weir")
    assert stored is not None
    save(engine, replace(stored, river="Red River"))
    for seen in (stored.version, NOT_THERE):
        with pytest.raises(DeviceChanged):
            save(engine, replace(stored, river="Blue River"), seen=seen)
    with pytest.raises(DeviceChanged):
        save(engine, DeviceRow(name="gone"), seen="0" * 16)
    with engine.connect() as connection:
        assert (read_device_row(connection, "weir") or WEIR).river == "Red River"
        assert read_device_row(connection, "gone") is None
    assert len(audited(engine)) == 2


def test_a_dev_eui_belongs_to_one_device_and_nothing_of_a_list_is_written_otherwise(engine: Engine) -> None:
    save(engine, WEIR)
    with pytest.raises(EuiTaken) as refused:
        save(engine, DeviceRow(name="bridge", dev_eui=EUI, model="cayenne_lpp"))
    assert refused.value.holder == "weir"
    twice = [DeviceRow(name=name, dev_eui="0" * 16, model="cayenne_lpp") for name in ("a", "b")]
    with engine.begin() as connection, pytest.raises(EuiTaken):
        write_devices(connection, twice, actor="duty")
    with engine.connect() as connection:
        assert [row.name for row in list_devices(connection)] == ["weir"]


def test_a_device_that_registered_itself_counts_as_looked_at_once_somebody_saved_it(engine: Engine) -> None:
    with engine.begin() as connection:
        register_devices(connection, ["mill"])
        stored = read_device_row(connection, "mill")
    assert stored is not None
    assert stored.auto_registered
    assert save(engine, stored) == "changed"
    assert audited(engine)[-1].before == {"auto_registered": True}


def test_out_of_service_and_back(engine: Engine) -> None:
    save(engine, WEIR)
    with engine.begin() as connection:
        assert decommission(connection, "weir", actor="duty")
        assert not decommission(connection, "weir", actor="duty")
        assert not decommission(connection, "nobody", actor="duty")
        assert find_devices(connection, ["weir"]) == {}
        assert recommission(connection, "weir", actor="duty")
        assert find_devices(connection, ["weir"]).keys() == {"weir"}
    assert [row.action for row in audited(engine)][1:] == ["device.decommission", "device.recommission"]


def test_the_list_is_searched_and_told_by_state(engine: Engine, redis: Redis) -> None:
    for name in ("a", "b_1", "bx1"):
        save(engine, DeviceRow(name=name))
    save(engine, WEIR)
    ingest(services(engine, redis), series([1.0, 1.1], device="mill"))
    with engine.begin() as connection:
        decommission(connection, "a", actor="duty")

        def names(*arguments: Any, **options: Any) -> list[str]:
            return [row.name for row in list_devices(connection, *arguments, **options)]

        assert names() == ["a", "b_1", "bx1", "mill", "weir"]
        assert names("B_1") == ["b_1"]
        assert names("sông") == names(EUI[:8].lower()) == names("AT THE mill") == ["weir"]
        assert names("%") == names("' OR 1=1 --") == names("\0q") == []
        assert names("", "auto") == ["mill"]
        assert names("", "decommissioned") == ["a"]
        assert names("", "never_heard") == ["b_1", "bx1", "weir"]
        assert names("", "registered") == ["b_1", "bx1", "weir"]
        assert names(cursor="b_1", limit=2) == ["bx1", "mill"]
        assert count_devices(connection) == {"": 5, "registered": 3, "auto": 1, "decommissioned": 1}
        assert count_devices(connection, "mill")[""] == 2
        heard = {row.name: row.heard_at for row in list_devices(connection)}
        assert heard["mill"] is not None
        assert heard["weir"] is None


def test_the_models_of_devices_with_a_like_dev_eui(engine: Engine) -> None:
    save(engine, WEIR)
    save(engine, DeviceRow(name="b", dev_eui=EUI[:-1] + "5", model="cayenne_lpp"))
    save(engine, DeviceRow(name="c", dev_eui=EUI[:-1] + "6", model="cayenne_lpp"))
    with engine.connect() as connection:
        found = models_of_siblings(connection, EUI[:-1] + "F", 9)
        assert found == [("cayenne_lpp", 2), ("milesight_em500_udl", 1)]
        assert models_of_siblings(connection, "F" * 16, 9) == []


@pytest.mark.parametrize("name", ["", "\0", "x" * 65, "a b", "ä"])
def test_what_can_be_no_name_is_no_device(engine: Engine, name: str) -> None:
    with engine.connect() as connection:
        assert read_device_row(connection, name) is None


def test_a_running_worker_hears_of_changes_within_seconds(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker remembers devices and sensors for ten seconds; what was changed counts from then on, without a restart."""
    now_s = 1_000.0
    for module in (attribute, decode):
        monkeypatch.setattr(module.time, "monotonic", lambda: now_s)
    save(engine, WEIR)
    devices, sensors = DeviceDirectory(auto_register=False), SensorDirectory()
    with engine.connect() as connection:
        assert devices.look_up(connection, ["weir"])["weir"].limits["rate_suspect_m_per_h"] == 2
        sensor = sensors.look_up(connection, [EUI])[EUI]
        assert isinstance(sensor, decode.Sensor)
    save(engine, replace(WEIR, quality={"rate_suspect_m_per_h": 3}, installation={"sensor_height_m": 13.0}))
    now_s += attribute.DIRECTORY_TTL_S + 0.1
    with engine.connect() as connection:
        assert devices.look_up(connection, ["weir"])["weir"].limits["rate_suspect_m_per_h"] == 3
        sensor = sensors.look_up(connection, [EUI])[EUI]
        assert isinstance(sensor, decode.Sensor)
        assert sensor.installation.sensor_height_m == 13.0
    with engine.begin() as connection:
        decommission(connection, "weir", actor="duty")
    now_s += attribute.DIRECTORY_TTL_S + 0.1
    with engine.connect() as connection:
        assert devices.look_up(connection, ["weir"]) == {}
        assert sensors.look_up(connection, [EUI]) == {}


def test_times_are_aware(engine: Engine) -> None:
    save(engine, WEIR)
    with engine.connect() as connection:
        stored = read_device_row(connection, "weir")
    assert stored is not None
    assert stored.registered_at is not None
    assert abs(datetime.now(UTC) - stored.registered_at).total_seconds() < 60


def test_the_command_line_is_audited_and_leaves_what_pages_say(engine: Engine) -> None:
    save(engine, replace(WEIR, dev_eui=None))
    with engine.begin() as connection:
        write_registration(connection, Registration(name="weir", dev_eui=EUI, model="cayenne_lpp"))
    with engine.connect() as connection:
        stored = read_device_row(connection, "weir")
    assert stored is not None
    assert (stored.river, stored.dev_eui, stored.model) == (WEIR.river, EUI, "cayenne_lpp")
    last = audited(engine)[-1]
    assert (last.actor, last.action, last.after["model"]) == ("command line", "device.update", "cayenne_lpp")
