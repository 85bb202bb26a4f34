import stat
import tomllib
from pathlib import Path

import pytest

from simulator.__main__ import main
from simulator.demo_places import demo_plans
from simulator.errors import InputFault
from simulator.fleet import read_fleet
from simulator.provision import SensorPlan, plan_fleet, provision
from streamgauge.sealing import unseal

KEY = "0123456789abcdef" * 4


def gateway_of(folder: Path) -> dict[str, list[dict[str, object]]]:
    return tomllib.loads((folder / "gateway.toml").read_text(encoding="utf-8"))


def test_the_gateway_opens_the_keys_that_the_sensors_have(tmp_path: Path) -> None:
    plans = [
        *plan_fleet("joins", 3, ["decentlab_dl_mbx", "milesight_em500_swl"], {}, {}, "otaa"),
        *plan_fleet("preset", 2, ["dragino_ldds45"], {}, {"sensor_height_m": 4.0, "offset_m": -0.1}, "abp"),
    ]
    fleet = provision(tmp_path, plans, 2, KEY)
    tables = {table["name"]: table for table in gateway_of(tmp_path)["devices"]}
    assert set(tables) == {"joins-001", "joins-002", "joins-003", "preset-001", "preset-002"}
    for card in fleet.sensors:
        table, dev_eui = tables[card.name], card.dev_eui.hex().upper()
        assert (table["dev_eui"], table["model"], table["activation"]) == (dev_eui, card.model, card.activation)
        assert table["installation"] == dict(card.installation)
        for name in ("app_key", "nwk_s_key", "app_s_key"):
            secret = getattr(card, name)
            assert (secret is None) == (name not in table)
            if secret is not None:
                assert unseal(str(table[name]), KEY, f"{dev_eui}:{name}") == secret
                assert secret.hex() not in (tmp_path / "gateway.toml").read_text().lower()
    assert [f["eui"] for f in gateway_of(tmp_path)["forwarders"]] == [eui.hex().upper() for eui in fleet.forwarders]
    assert len({card.dev_eui for card in fleet.sensors}) == 5
    assert {card.dev_addr for card in fleet.sensors if card.dev_addr} == {b"\x26\x01\x1f\x00", b"\x26\x01\x1f\x01"}


def test_keys_are_fresh_each_time_and_files_are_private(tmp_path: Path) -> None:
    one = provision(tmp_path / "one", plan_fleet("s", 4, ["decentlab_dl_mbx"], {}, {}, "otaa"), 1, KEY)
    two = provision(tmp_path / "two", plan_fleet("s", 4, ["decentlab_dl_mbx"], {}, {}, "otaa"), 1, KEY)
    assert len({card.app_key for fleet in (one, two) for card in fleet.sensors}) == 8
    for name in ("fleet.json", "gateway.toml"):
        assert stat.S_IMODE((tmp_path / "one" / name).stat().st_mode) == 0o600


def test_what_a_person_wrote_stays_and_the_same_command_changes_nothing(tmp_path: Path) -> None:
    own = '# mine\n[[devices]]\nname = "own"\nactivation = "ip"\ndev_eui = "70B3D57ED0000001"\n\n[[alarms]]\nwebhook = "http://x/"'
    (tmp_path / "gateway.toml").write_text(own)
    provision(tmp_path, demo_plans(), 2, KEY)
    text = (tmp_path / "gateway.toml").read_text()
    assert text.startswith(own)
    tree = gateway_of(tmp_path)
    assert tree["devices"][0]["name"] == "own"
    assert len({str(table["dev_eui"]) for table in tree["devices"]}) == 7
    assert tree["alarms"] == [{"webhook": "http://x/"}]
    fleet = read_fleet(tmp_path)
    assert provision(tmp_path, demo_plans(), 2, KEY) == fleet
    assert (tmp_path / "gateway.toml").read_text() == text


def test_a_lost_gateway_file_is_made_anew_with_the_fleets_keys(tmp_path: Path) -> None:
    fleet = provision(tmp_path, demo_plans(), 2, KEY)
    (tmp_path / "gateway.toml").unlink()
    assert provision(tmp_path, demo_plans(), 2, KEY) == fleet
    table = gateway_of(tmp_path)["devices"][0]
    assert unseal(str(table["app_key"]), KEY, f"{table['dev_eui']}:app_key") == fleet.sensors[0].app_key


def test_names_whose_keys_are_lost_or_that_mean_something_else_are_refused(tmp_path: Path) -> None:
    provision(tmp_path, demo_plans(), 2, KEY)
    with pytest.raises(InputFault, match="dead-run is there already"):
        provision(tmp_path, [SensorPlan(name="dead-run", model="milesight_em500_swl")], 2, KEY)
    (tmp_path / "fleet.json").unlink()
    with pytest.raises(InputFault, match=r"keys are not in fleet\.json"):
        provision(tmp_path, demo_plans(), 2, KEY)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "decentlab_dl_mxb"], "decentlab_dl_mbx"),
        (["--model", "decentlab_dl_pr26"], "Pmin"),
        (["--installation", "height=3"], "height"),
        (["--installation", "sensor_height_m=high"], "NAME=NUMBER"),
        (["--name", "a/b"], "must be 1 to 64"),
    ],
)
def test_what_cannot_be_made_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.setenv("STREAMGAUGE_GATEWAY_KEY", KEY)
    monkeypatch.setenv("STREAMGAUGE_HOME", str(tmp_path))
    try:
        code = main(["provision", "--out", str(tmp_path / "fleet"), *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "fleet").exists()


def test_the_key_comes_from_a_file_and_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STREAMGAUGE_GATEWAY_KEY", raising=False)
    monkeypatch.setenv("STREAMGAUGE_HOME", str(tmp_path))
    command = ["provision", "--demo", "--out", str(tmp_path / "fleet")]
    assert main(command) == 2
    assert "STREAMGAUGE_GATEWAY_KEY" in capsys.readouterr().err
    (tmp_path / "key").write_text(KEY + "\n")
    monkeypatch.setenv("STREAMGAUGE_GATEWAY_KEY_FILE", str(tmp_path / "key"))
    assert main(command) == 0
    assert "6 sensors and 2 forwarders" in capsys.readouterr().err
    assert KEY not in (tmp_path / "fleet" / "gateway.toml").read_text()
