"""gateway.toml is validated completely, and every fault is named with what to do."""

from pathlib import Path

import pytest

from gateway.configuration import Configuration, ConfigurationError, read_configuration
from streamgauge.payloads import layout
from streamgauge.sealing import seal

KEY = "k" * 40
EUI = "70B3D57ED0000001"
APP_KEY = bytes(range(16))


def sealed(field: str, eui: str = EUI, key: str = KEY, secret: bytes = APP_KEY) -> str:
    return seal(secret, key, f"{eui}:{field}")


def written(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str, key: str | None = KEY) -> Configuration:
    return read_configuration(written(folder, text), key)


def problems(folder: Path, text: str, key: str | None = KEY) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        read(folder, text, key)
    return refused.value.problems


def otaa(name: str = "weir", eui: str = EUI, **more: str) -> str:
    fields = {
        "name": f'"{name}"',
        "model": '"decentlab_dl_mbx"',
        "activation": '"otaa"',
        "dev_eui": f'"{eui}"',
        "join_eui": '"0000000000000000"',
        "app_key": f'"{sealed("app_key", eui)}"',
        "installation": "{ sensor_height_m = 6.0 }",
    }
    lines = [f"{key} = {value}" for key, value in {**fields, **more}.items() if value]
    return "[[devices]]\n" + "\n".join(lines) + "\n"


def test_an_empty_file_is_a_gateway_without_sensors(tmp_path: Path) -> None:
    found = read(tmp_path, "", None)
    assert (found.devices, found.forwarders, found.rules, found.alarms) == ({}, frozenset(), (), ())


def test_a_sensor_that_joins(tmp_path: Path) -> None:
    weir = read(tmp_path, otaa()).devices["weir"]
    assert (weir.model, weir.activation, weir.app_key) == ("decentlab_dl_mbx", "otaa", APP_KEY)
    assert weir.dev_eui == bytes.fromhex(EUI)
    assert weir.installation.sensor_height_m == 6.0
    assert APP_KEY.hex() not in repr(weir)
    assert repr(APP_KEY) not in repr(weir)


def test_a_personalised_sensor_and_one_with_ip(tmp_path: Path) -> None:
    text = f"""
[[devices]]
name = "tank"
model = "milesight-iot/em500-swl"
activation = "abp"
dev_eui = "{EUI}"
dev_addr = "26011F00"
nwk_s_key = "{sealed("nwk_s_key")}"
app_s_key = "{sealed("app_s_key")}"
relax_counter = true
[[devices]]
name = "quay"
activation = "ip"
token_sha256 = "{"ab" * 32}"
"""
    devices = read(tmp_path, text).devices
    assert devices["tank"].dev_addr == bytes.fromhex("26011F00")
    assert devices["tank"].relax_counter
    assert devices["tank"].model == "milesight_em500_swl"
    assert devices["quay"].token_sha256 == b"\xab" * 32
    assert devices["quay"].codec is None


def test_every_fault_is_named_in_one_message(tmp_path: Path) -> None:
    text = (
        otaa(model='"decentlab_dl_mbq"')
        + otaa("tank", "70B3D57ED000", app_key=f'"{"00" * 16}"')
        + otaa("quay", "70B3D57ED0000003", installation="{ sensor_height = 6.0 }")
        + otaa("lock", "70B3D57ED0000004", parameters="{ Pmin = 0.0 }")
        + otaa("mill", "70B3D57ED0000005", colour='"blue"')
        + '[[forwarders]]\neui = "AA555A"\n[[rules]]\nname = "high"\ndevice = "nobody"\n[gizmo]\n'
    )
    found = "\n".join(problems(tmp_path, text))
    for word in (
        "[[devices]] 1 (weir): model:",
        "decentlab_dl_mbx",
        "[[devices]] 2 (tank): dev_eui must be 16 hexadecimal digits",
        "[[devices]] 3 (quay): installation: sensor_height is no parameter here",
        "[[devices]] 4 (lock): parameters: Pmin is no parameter here",
        "[[devices]] 5 (mill): colour is no key here",
        "[[forwarders]] 1: eui must be",
        "[[rules]] 1 (high): device nobody is not among",
        "could never be due",
        "[[rules]] without [[alarms]]",
        "gizmo is no table",
    ):
        assert word in found


def test_a_key_in_the_clear_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, otaa(app_key=f'"{APP_KEY.hex()}"'))
    assert "seal it" in found
    assert APP_KEY.hex() not in found


@pytest.mark.parametrize(
    "text",
    [
        sealed("app_key", key="another" * 8),
        sealed("nwk_s_key"),
        sealed("app_key", eui="70B3D57ED0000002"),
        sealed("app_key")[:-4],
        "sealed:v1:",
        sealed("app_key", secret=b"short"),
    ],
    ids=["another gateway's", "another field's", "another device's", "cut off", "empty", "too short"],
)
def test_a_sealed_key_that_is_not_this_one_s_is_refused(tmp_path: Path, text: str) -> None:
    (found,) = problems(tmp_path, otaa(app_key=f'"{text}"'))
    assert "app_key" in found


def test_sealed_keys_need_the_gateway_s_key(tmp_path: Path) -> None:
    assert "STREAMGAUGE_GATEWAY_KEY is not set" in problems(tmp_path, otaa(), key=None)[0]


def test_names_and_euis_are_unique(tmp_path: Path) -> None:
    found = problems(tmp_path, otaa() + otaa(eui="70B3D57ED0000002") + otaa("tank"))
    assert any("another device of this name" in problem for problem in found)
    assert any("weir has the same dev_eui" in problem for problem in found)


def test_rules_and_alarms(tmp_path: Path) -> None:
    text = otaa() + (
        '[[rules]]\nname = "high"\ndevice = "weir"\nwhen = "always"\nlevel_above_m = 2\n'
        '[[alarms]]\ncommand = ["/usr/bin/siren", "on"]\n[[alarms]]\nwebhook = "http://127.0.0.1:9/x"\n'
    )
    found = read(tmp_path, text)
    assert found.rules[0].level_above_m == 2.0
    assert [alarm.kind for alarm in found.alarms] == ["command", "webhook"]


@pytest.mark.parametrize("text", ["[[devices", "devices = 1", "\x00", 'devices = ["a"]'])
def test_what_is_no_such_file_is_refused_in_words(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


def test_a_missing_file_says_which_setting_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="STREAMGAUGE_GATEWAY_CONFIG_FILE"):
        read_configuration(tmp_path / "none.toml", None)


def test_tables_of_the_wrong_shape_are_told_in_an_installers_words(tmp_path: Path) -> None:
    text = (
        otaa(activation='"OTAA"', token='"abc"', parameters='{ range_m = "5" }', app_key="0x0102030405060708")
        + '[[devices]]\nactivation = "ip"\n[[alarms]]\ncommand = "/bin/siren"\n'
    )
    found = problems(tmp_path, text)
    assert len(found) == 6
    assert "[[devices]] 1 (weir): token is no key here (there are: activation, app_key," in found[0]
    assert 'activation is \'OTAA\', but must be one of "otaa", "abp", "ip"' in found[1]
    assert "app_key must be a text in quotation marks" in found[2]
    assert "without quotation marks, such as { Pmin = 0.0" in found[3]
    assert "[[devices]] 2: name is missing: give a text" in found[4]
    assert "command is '/bin/siren', but must be a list of texts" in found[5]
    assert str(0x0102030405060708) not in "".join(found)


def test_what_hangs_on_a_wrong_sensor_is_not_wrong_too(tmp_path: Path) -> None:
    rule = '[[rules]]\nname = "high"\ndevice = "weir"\nlevel_above_m = 1.0\n[[alarms]]\nwebhook = "http://localhost/"\n'
    (problem,) = problems(tmp_path, otaa(model='"no_such"', parameters="{ Pmin = 0.0 }") + rule)
    assert "no_such" in problem


def test_two_layouts_of_one_model_are_refused(tmp_path: Path) -> None:
    example = (Path(layout.__file__).parent / "layouts" / "example_distance.toml").read_text(encoding="utf-8")
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(example, encoding="utf-8")
    (problem,) = problems(tmp_path, '[[layouts]]\npath = "a.toml"\n[[layouts]]\npath = "b.toml"\n')
    assert "[[layouts]] 2" in problem
    assert "example_distance" in problem


def test_what_is_wrong_within_a_layout_stands_under_it(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('model = "a"\n', encoding="utf-8")
    (problem,) = problems(tmp_path, '[[layouts]]\npath = "a.toml"\n')
    assert "\n    - measures: is missing" in problem
