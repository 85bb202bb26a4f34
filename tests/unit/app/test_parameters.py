"""Query parameters of the API: right, or named."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import BadRequest

from app.api.parameters import (
    decode_name_cursor,
    decode_time_cursor,
    encode_name_cursor,
    encode_time_cursor,
    read_range,
    read_time,
)


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - hypothesis wants them so
def test_time_cursors_come_back_to_the_microsecond(naive: datetime) -> None:
    time = naive.replace(tzinfo=UTC)
    assert decode_time_cursor(encode_time_cursor(time)) == time


@given(st.text(max_size=40))
def test_a_cursor_that_is_none_of_ours_is_a_bad_request(text: str) -> None:
    for decode in (decode_time_cursor, decode_name_cursor):
        with suppress(BadRequest):
            decode(text)


def test_name_cursors_come_back() -> None:
    assert decode_name_cursor(encode_name_cursor("plumtree-01")) == "plumtree-01"


@pytest.mark.parametrize("text", ["yesterday", "2018-06-01T00:00:00", "2018-13-01T00:00:00Z", "1" * 300, "2018-06-01"])
def test_times_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(BadRequest, match="from"):
        read_range({"from": text})


def test_from_after_to_is_refused() -> None:
    with pytest.raises(BadRequest, match="before"):
        read_range({"from": "2018-06-02T00:00:00Z", "to": "2018-06-01T00:00:00Z"})


def test_an_unescaped_plus_is_understood() -> None:
    time = read_time({"from": "2018-06-01T07:00:00 07:00"}, "from", datetime.min.replace(tzinfo=UTC))
    assert time == datetime(2018, 6, 1, tzinfo=UTC)
    assert time.utcoffset() == timedelta(0)
