"""LoRaWAN's cryptography against an AES of the textbook's."""

from hypothesis import given, settings
from hypothesis import strategies as st
from textbook_aes import cmac, encrypt_block

from streamgauge.lorawan import crypto

KEY = st.binary(min_size=16, max_size=16)


def test_textbook_is_aes_as_published() -> None:
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f")  # FIPS 197, appendix C.1
    assert (
        encrypt_block(key, bytes.fromhex("00112233445566778899aabbccddeeff")).hex()
        == "69c4e0d86a7b0430d8cdb78070b4c55a"
    )
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")  # RFC 4493, section 4
    assert cmac(key, b"").hex() == "bb1d6929e95937287fa37d129b756746"
    assert cmac(key, bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")).hex() == "070a16b46b4d4144f79bdd9dd04a287c"


@settings(max_examples=20)
@given(
    key=KEY,
    direction=st.sampled_from([crypto.UPLINK, crypto.DOWNLINK]),
    dev_addr=st.binary(min_size=4, max_size=4),
    f_cnt=st.integers(0, crypto.F_CNT_MAX),
    signed=st.binary(min_size=8, max_size=80),
)
def test_mic_is_cmac_over_b0_and_the_message(key, direction, dev_addr, f_cnt, signed) -> None:
    b0 = b"\x49\0\0\0\0" + bytes([direction]) + dev_addr[::-1] + f_cnt.to_bytes(4, "little") + bytes([0, len(signed)])
    assert crypto.data_mic(key, direction, dev_addr, f_cnt, signed) == cmac(key, b0 + signed)[:4]


@settings(max_examples=20)
@given(
    key=KEY,
    direction=st.sampled_from([crypto.UPLINK, crypto.DOWNLINK]),
    dev_addr=st.binary(min_size=4, max_size=4),
    f_cnt=st.integers(0, crypto.F_CNT_MAX),
    payload=st.binary(max_size=80),
)
def test_payload_is_xored_with_encrypted_counters(key, direction, dev_addr, f_cnt, payload) -> None:
    stream = b"".join(
        encrypt_block(
            key,
            b"\x01\0\0\0\0" + bytes([direction]) + dev_addr[::-1] + f_cnt.to_bytes(4, "little") + bytes([0, number]),
        )
        for number in range(1, 7)
    )
    encrypted = crypto.crypt_payload(key, direction, dev_addr, f_cnt, payload)
    assert encrypted == bytes(a ^ b for a, b in zip(payload, stream, strict=False))
    assert crypto.crypt_payload(key, direction, dev_addr, f_cnt, encrypted) == payload


@settings(max_examples=10)
@given(
    app_key=KEY, app_nonce=st.integers(0, 0xFFFFFF), net_id=st.integers(0, 0xFFFFFF), dev_nonce=st.integers(0, 0xFFFF)
)
def test_session_keys_are_the_encrypted_nonces(app_key, app_nonce, net_id, dev_nonce) -> None:
    nonces = app_nonce.to_bytes(3, "little") + net_id.to_bytes(3, "little") + dev_nonce.to_bytes(2, "little") + bytes(7)
    keys = crypto.derive_session_keys(app_key, app_nonce, net_id, dev_nonce)
    assert keys.nwk_s_key == encrypt_block(app_key, b"\x01" + nonces)
    assert keys.app_s_key == encrypt_block(app_key, b"\x02" + nonces)


@given(app_key=KEY, content=st.sampled_from([16, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_a_join_accept_is_opened_with_encryption(app_key, content) -> None:
    encrypted = crypto.encrypt_join_accept(app_key, content)
    assert encrypt_block(app_key, encrypted[:16]) == content[:16]
    assert crypto.decrypt_join_accept(app_key, encrypted) == content


def test_keys_are_not_printed() -> None:
    keys = crypto.SessionKeys(b"N" * 16, b"A" * 16)
    assert "NNN" not in repr(keys)
    assert "AAA" not in repr(keys)
