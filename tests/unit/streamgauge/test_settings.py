"""Settings: everything that is wrong in one message, no secret in any message, a mounted file in place of a value."""

import os
from dataclasses import fields, replace
from pathlib import Path

import pytest

from streamgauge.errors import SettingsError
from streamgauge.settings import (
    PARTS,
    PREFIX,
    LimitSettings,
    MigrationSettings,
    SimulatorSettings,
    SubscriberSettings,
    WebSettings,
    WorkerSettings,
    document,
    load,
)

SECRET = "hunter2-geheim"
URLS = {
    "STREAMGAUGE_DATABASE_URL": f"postgresql://u:{SECRET}@h:5432/n",
    "STREAMGAUGE_REDIS_URL": f"redis://:{SECRET}@h:6379/0",
    "STREAMGAUGE_MQTT_URL": f"mqtt://u:{SECRET}@h:1883",
    "STREAMGAUGE_SECRET_KEY": SECRET + "x" * 32,
}
PLACES = {
    "STREAMGAUGE_GATEWAY_NAME": "g",
    "STREAMGAUGE_GATEWAY_DIR": "d",
    "STREAMGAUGE_GATEWAY_CONFIG_FILE": "c",
}


def problems(part: type, environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        load(part, environ)
    return refused.value.problems


@pytest.mark.parametrize("part", PARTS)
def test_a_part_starts_with_its_urls_alone_and_its_repr_tells_no_secret(part: type) -> None:
    loaded = load(part, URLS | PLACES)
    assert SECRET not in repr(loaded)
    assert SECRET not in str(loaded)


@pytest.mark.parametrize("part", PARTS)
def test_every_missing_key_is_named_in_one_message(part: type) -> None:
    required = {PREFIX + spec.metadata["key"] for spec in fields(part)} & (URLS | PLACES).keys()
    named = {problem.split()[0] for problem in problems(part, {})}
    assert named == required


def test_every_bad_key_is_named_at_once_with_what_it_must_be() -> None:
    bad = {
        "STREAMGAUGE_DATABASE_URL": f"mysql://u:{SECRET}@h/n",
        "STREAMGAUGE_REDIS_URL": f"redis://u:{SECRET}@h:99999",
        "STREAMGAUGE_LOG_LEVEL": "LOUD",
        "STREAMGAUGE_TASK_MAX_READINGS": "0",
        "STREAMGAUGE_AUTO_REGISTER": "maybe",
        "STREAMGAUGE_EARLIEST_TIME": "2000-01-01T00:00:00",
        "STREAMGAUGE_FUTURE_TOLERANCE_S": "nan",
        "STREAMGAUGE_TASK_SOFT_LIMIT_S": "1e3",
        "STREAMGAUGE_NO_SUCH_THING": "1",
    }
    found = problems(WorkerSettings, bad)
    assert {problem.split()[0] for problem in found} == bad.keys()
    assert len(found) == len(bad)
    assert SECRET not in str(SettingsError(found))


@pytest.mark.parametrize("key", URLS)
@pytest.mark.parametrize(
    "value", [SECRET, f"http://{SECRET}@h", f"redis://:{SECRET}@[h", f"mqtt://a:{SECRET}@h:port", f"://{SECRET}"]
)
def test_a_bad_secret_is_never_repeated(key: str, value: str) -> None:
    takers = [part for part in PARTS if key in {PREFIX + spec.metadata["key"] for spec in fields(part)}]
    assert takers
    for part in takers:
        if key == "STREAMGAUGE_SECRET_KEY" and len(value) >= 32:
            continue
        with pytest.raises(SettingsError) as refused:
            load(part, {**URLS, key: value})
        assert SECRET not in str(refused.value)
        assert refused.value.__cause__ is None


def test_a_value_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(URLS["STREAMGAUGE_DATABASE_URL"] + "\n")
    loaded = load(MigrationSettings, {"STREAMGAUGE_DATABASE_URL_FILE": str(path)})
    assert loaded.database_url == URLS["STREAMGAUGE_DATABASE_URL"]


def test_a_value_and_a_file_at_once_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(URLS["STREAMGAUGE_DATABASE_URL"])
    environ = {**URLS, "STREAMGAUGE_DATABASE_URL_FILE": str(path)}
    assert "set one of the two" in problems(MigrationSettings, environ)[0]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", "folder"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "secret"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    found = problems(MigrationSettings, {"STREAMGAUGE_DATABASE_URL_FILE": str(path)})
    assert found[0].startswith("STREAMGAUGE_DATABASE_URL ")
    assert len(found) == 1


def test_an_empty_value_counts_as_absent() -> None:
    empty = dict.fromkeys((row.key for row in document()), "")
    assert load(SimulatorSettings, {**empty, "STREAMGAUGE_MQTT_URL": "mqtt://h"}) == load(
        SimulatorSettings, {"STREAMGAUGE_MQTT_URL": "mqtt://h"}
    )


@pytest.mark.parametrize(
    "key", ["STREAMGAUGE_", "STREAMGAUGE_LOGLEVEL", "STREAMGAUGE_LOG_LEVEL_FILE_FILE", "STREAMGAUGE_log_level"]
)
def test_a_misspelt_key_is_no_silent_default(key: str) -> None:
    assert any(
        problem.startswith(f"{key} is no setting") for problem in problems(MigrationSettings, {**URLS, key: "x"})
    )


def test_keys_of_other_parts_of_the_supervisor_and_of_other_programs_are_no_error() -> None:
    others = {
        "STREAMGAUGE_HOME": "x",
        "STREAMGAUGE_EMBEDDED_BROKER": "auto",
        "STREAMGAUGE_TEST_SEED": "1",
        "PATH": "x",
        "HOME": "",
    }
    load(MigrationSettings, {**URLS, **others, "STREAMGAUGE_HTTP_PORT": "1"})


@pytest.mark.parametrize(
    ("soft", "hard", "visibility"),
    [("90", "90", "300"), ("91", "90", "300"), ("60", "300", "300"), ("1", "2", "3"), ("1", "3", "2")],
)
def test_time_limits_must_agree(soft: str, hard: str, visibility: str) -> None:
    environ = {
        **URLS,
        "STREAMGAUGE_TASK_SOFT_LIMIT_S": soft,
        "STREAMGAUGE_TASK_HARD_LIMIT_S": hard,
        "STREAMGAUGE_VISIBILITY_TIMEOUT_S": visibility,
    }
    if (soft, hard, visibility) == ("1", "2", "3"):
        assert load(WorkerSettings, environ).visibility_timeout_s == 3
        return
    found = problems(WorkerSettings, environ)
    assert any("delivered a second time" in problem or "from 3 to" in problem for problem in found)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), ("on", True), ("No", False), ("0", False)])
def test_flags(text: str, value: bool) -> None:
    assert load(WorkerSettings, {**URLS, "STREAMGAUGE_AUTO_REGISTER": text}).auto_register is value


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00", "soon", "2000-13-01T00:00:00Z"]
)
def test_an_impossible_earliest_time_is_named(moment: str) -> None:
    environ = {"STREAMGAUGE_EARLIEST_TIME": moment}
    assert problems(LimitSettings, environ)[0].startswith("STREAMGAUGE_EARLIEST_TIME must")


@pytest.mark.parametrize("number", ["-1", "1.0", " 5", "٣", "9" * 5000, "0x10", "1_0"])
def test_whole_numbers_are_plain_digits(number: str) -> None:
    assert problems(SubscriberSettings, {**URLS, "STREAMGAUGE_SUBSCRIBER_MAX_TASKS": number})


def test_settings_are_frozen() -> None:
    loaded = load(WebSettings, URLS)
    with pytest.raises(AttributeError):
        loaded.http_port = 1  # type: ignore[misc]
    assert replace(loaded, http_port=1).http_port == 1


def test_a_key_means_the_same_in_every_part_that_takes_it() -> None:
    seen: dict[str, tuple[object, ...]] = {}
    for part in PARTS:
        for spec in fields(part):
            meaning = (spec.default, spec.metadata["doc"], spec.metadata["secret"])
            assert seen.setdefault(spec.metadata["key"], meaning) == meaning


def test_loading_reads_the_given_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "STREAMGAUGE_LOG_LEVEL", "LOUD")
    assert load(MigrationSettings, URLS).log_level == "INFO"
