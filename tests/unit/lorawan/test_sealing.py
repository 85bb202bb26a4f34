"""Sealed secrets open with their key in their place, and not otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.sealing import PREFIX, SealBroken, is_sealed, seal, unseal

SECRET = bytes(range(16))
CONTEXT = "0004A30B001C0530:app_key"


@given(
    secret=st.binary(max_size=64),
    key=st.text(st.characters(codec="utf-8"), min_size=1),
    context=st.text(st.characters(codec="utf-8")),
)
def test_what_was_sealed_opens(secret: bytes, key: str, context: str) -> None:
    sealed = seal(secret, key, context)
    assert is_sealed(sealed)
    assert unseal(sealed, key, context) == secret


def test_a_secret_sealed_twice_looks_different() -> None:
    assert seal(SECRET, "key", CONTEXT) != seal(SECRET, "key", CONTEXT)


@pytest.mark.parametrize(("key", "context"), [("other", CONTEXT), ("key", "0004A30B001C0530:nwk_s_key")])
def test_another_key_or_place_does_not_open_it(key: str, context: str) -> None:
    with pytest.raises(SealBroken, match="another key or for another place"):
        unseal(seal(SECRET, "key", CONTEXT), key, context)


def test_a_seal_that_is_cut_or_altered_is_broken() -> None:
    sealed = seal(SECRET, "key", CONTEXT)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            unseal(sealed[:length], "key", CONTEXT)
    for place in range(len(PREFIX), len(sealed) - 2):
        altered = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(SealBroken):
            unseal(altered, "key", CONTEXT)


@given(text=st.text())
def test_any_text_is_a_seal_or_broken(text: str) -> None:
    for candidate in (text, PREFIX + text):
        with pytest.raises(SealBroken):
            unseal(candidate, "key", CONTEXT)


def test_an_empty_key_seals_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        seal(SECRET, "", CONTEXT)
