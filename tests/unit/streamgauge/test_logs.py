"""Logs: every record is exactly one line of JSON with the contract's fields, whatever a caller puts into it."""

import datetime as dt
import decimal
import io
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge import logs

FIELDS = list(logs.CONTRACT_FIELDS)


class Speaker:
    """A logger with the product's formatter on a string."""

    def __init__(self) -> None:
        self.sink = io.StringIO()
        handler = logging.StreamHandler(self.sink)
        handler.setFormatter(logs.JsonFormatter("svc"))
        self.logger = logging.Logger("some.part")  # noqa: LOG001 - apart from the process's own
        self.logger.addHandler(handler)

    def line(self) -> dict[str, Any]:
        text = self.sink.getvalue()
        assert text.endswith("\n")
        assert text.count("\n") == 1
        self.sink.truncate(self.sink.seek(0))
        found: dict[str, Any] = json.loads(text)
        assert list(found)[: len(FIELDS)] == FIELDS
        return found


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Speaker]:
    def fail(_self: logging.Handler, record: logging.LogRecord) -> None:
        raise AssertionError(f"the record was lost: {record.msg!r}")

    monkeypatch.setattr(logging.Handler, "handleError", fail)
    yield Speaker()
    logs.clear()


def test_a_line_has_the_contract_s_fields(speaker: Speaker) -> None:
    speaker.logger.info("stored", extra={"readings": 7})
    line = speaker.line()
    assert line == {
        **line,
        "level": "INFO",
        "logger": "some.part",
        "message": "stored",
        "service": "svc",
        "readings": 7,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    moment = dt.datetime.fromisoformat(line["timestamp"])
    assert abs((dt.datetime.now(dt.UTC) - moment).total_seconds()) < 5
    assert len(line) == len(FIELDS) + 1


def test_arguments_are_put_into_the_message(speaker: Speaker) -> None:
    speaker.logger.info("%s of %d", "one", 2)
    assert speaker.line()["message"] == "one of 2"


@pytest.mark.parametrize(
    ("message", "arguments"),
    [("%d", ("x",)), ("%s %s", ("x",)), ("%(a)s", ({"b": 1},)), ("100 %", (1,)), ("x", (1, 2))],
)
def test_a_message_that_does_not_fit_its_arguments_is_kept(
    speaker: Speaker, message: str, arguments: tuple[object, ...]
) -> None:
    speaker.logger.info(message, *arguments)
    line = speaker.line()
    assert line["message"] == message
    assert "log_args" in line


def test_a_traceback_stands_inside_the_line(speaker: Speaker) -> None:
    try:
        raise ValueError("line one\nline two")
    except ValueError:
        speaker.logger.exception("not stored", extra={"device": "a"}, stack_info=True)
    line = speaker.line()
    assert line["exc_info"].startswith("Traceback (most recent call last):\n")
    assert "line one\nline two" in line["exc_info"]
    assert "Stack" in line["stack_info"]
    assert line["device"] == "a"


class Colour(Enum):
    BLUE = object()


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def in_a_circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def deep() -> list[Any]:
    nest: list[Any] = []
    for _ in range(2_000):
        nest = [nest]
    return nest


ODD = [
    b"\xff\x00", bytearray(b"x"), memoryview(b"x"), {1, 2}, frozenset(), dt.datetime(2026, 1, 1),  # noqa: DTZ001 - odd on purpose
    dt.date(2026, 1, 1),
    dt.timedelta(1), ValueError("x"), ValueError, {"error": KeyError("k")}, [OSError(2, "no such file")], 10**40, float("nan"),
    float("-inf"), "\ud800", "a\nb\r\u2028\x00", object(), {1: 2, (1, 2): 3, None: 4, b"k": 5},
    {"\ud800": 1}, decimal.Decimal("NaN"),
    Colour.BLUE, uuid.UUID(int=1), Path("/x"), range(3), (x for x in ()), len, Unspeakable(), complex(1, 2),
    in_a_circle(), deep(),
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_whatever_stands_in_a_field_the_line_is_written(speaker: Speaker, value: object) -> None:
    speaker.logger.info("odd", extra={"value": value, "other": 1})
    line = speaker.line()
    assert line["other"] == 1
    assert "value" in line


@pytest.mark.parametrize(
    "message", ["\ud800", "a\nb", {"event": "x"}, {"message": "m", "level": "evil"}, ValueError("x"), None, 7, b"\xff"]
)
def test_whatever_the_message_is_the_line_is_written(speaker: Speaker, message: object) -> None:
    speaker.logger.info(message)
    assert speaker.line()["level"] == "INFO"


def test_no_field_takes_the_place_of_the_contract_s(speaker: Speaker) -> None:
    with logs.bind(service="bound", task_id="t"):
        speaker.logger.info("said", extra={"level": "x", "timestamp": "y", "logger": "z"})
    line = speaker.line()
    assert (line["level"], line["logger"], line["message"], line["service"]) == ("INFO", "some.part", "said", "svc")
    assert (line["level_"], line["service_"], line["task_id"]) == ("x", "bound", "t")


def test_bound_fields_last_as_long_as_their_block_and_a_call_s_own_go_before(speaker: Speaker) -> None:
    with logs.bind(task_id="1", device="a"):
        with logs.bind(device="b"):
            speaker.logger.info("in")
            assert (speaker.line()["task_id"], logs._bound.get()) == ("1", {"task_id": "1", "device": "b"})
        speaker.logger.info("out", extra={"task_id": "own"})
        line = speaker.line()
        assert (line["task_id"], line["device"]) == ("own", "a")
        logs.clear()
        speaker.logger.info("cleared")
        assert "device" not in speaker.line()
    speaker.logger.info("after")
    assert "task_id" not in speaker.line()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(message=st.text(), extra=st.dictionaries(st.text().map("x_".__add__), values, max_size=4))
def test_any_message_and_any_fields_make_one_line(message: str, extra: dict[str, Any]) -> None:
    speaker = Speaker()
    speaker.logger.info(message, extra=extra)
    line = speaker.line()
    assert len(line) == len(FIELDS) + len(extra)


def test_configuring_sends_everything_to_standard_output_as_json(
    capsys: pytest.CaptureFixture[str], run_apart: Callable[[str], str]
) -> None:
    output = run_apart(
        "import logging, warnings\n"
        "from streamgauge import logs\n"
        "logs.configure('worker', 'INFO')\n"
        "logging.getLogger('celery').info('ready')\n"
        "logging.getLogger('x').debug('quiet')\n"
        "warnings.warn('beware')\n"
    )
    lines = [json.loads(line) for line in output.splitlines()]
    assert [(line["logger"], line["service"], line["level"]) for line in lines] == [
        ("celery", "worker", "INFO"),
        ("py.warnings", "worker", "WARNING"),
    ]
