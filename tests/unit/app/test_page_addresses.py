"""What addresses name."""

import pytest
from flask import Flask

from app.addresses import LARGEST_ID, read_before


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("", LARGEST_ID),
        ("0", 0),
        ("17", 17),
        (str(LARGEST_ID), LARGEST_ID),
        ("9" * 19, LARGEST_ID),
        ("9" * 5_000, LARGEST_ID),
        ("-1", LARGEST_ID),
        ("1.5", LARGEST_ID),
        ("\N{SUPERSCRIPT TWO}", LARGEST_ID),
        ("\N{ARABIC-INDIC DIGIT TWO}", LARGEST_ID),
        ("1\0", LARGEST_ID),
    ],
)
def test_a_page_begins_at_a_number_or_at_the_newest(text: str, before: int) -> None:
    with Flask("any").test_request_context("/", query_string={"before": text}):
        assert read_before() == before
