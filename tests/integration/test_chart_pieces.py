"""A chart reads its readings in pieces of so many, so that a century with little in it costs as much as the little."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from streamgauge.storage import hourly
from streamgauge.storage.binary_copy import copy_columns
from streamgauge.storage.read_chart import Line, read_chart
from tests.support.history_rows import add_device, add_readings

START, END = datetime(1926, 1, 1, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)
LONG_AGO = datetime(1970, 3, 1, tzinfo=UTC)
ROWS = 500


@pytest.fixture
def mill(engine: Engine) -> int:
    device = add_device(engine, "mill")
    add_readings(engine, device, ROWS)
    add_readings(engine, device, 20, begin=LONG_AGO, step_s=60)
    return device


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions for readings."""
    found = list[str]()

    def noted(connection: Any, query: str, *rest: Any) -> Any:
        found.append(query)
        return copy_columns(connection, query, *rest)

    monkeypatch.setattr(hourly, "copy_columns", noted)
    return found


def level(engine: Engine, device: int, bins: int = 850) -> Line:
    with engine.connect() as connection:
        return read_chart(connection, device, START, END, bins, ["level_m"]).lines["level_m"]


def test_a_century_is_few_questions(engine: Engine, mill: int, asked: list[str]) -> None:
    line = level(engine, mill)
    # Every tenth reading has failed.
    assert line.readings == (ROWS + 20) * 9 // 10
    assert line.time_us[0] == LONG_AGO.timestamp() * 1e6
    assert len(asked) <= 2


@pytest.mark.parametrize("bins", [10, 850])
@pytest.mark.parametrize("most", [1, 7, 520, 521])
def test_where_a_piece_ends_makes_no_difference(
    engine: Engine, mill: int, asked: list[str], bins: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = level(engine, mill, bins)
    asked.clear()
    monkeypatch.setattr("streamgauge.storage.read_chart.PIECE_READINGS", most)
    pieces = level(engine, mill, bins)
    assert len(asked) >= (ROWS + 20) // most
    assert pieces.readings == whole.readings
    for one, other in ((pieces.time_us, whole.time_us), (pieces.value, whole.value), (pieces.gaps, whole.gaps)):
        np.testing.assert_array_equal(one, other)
