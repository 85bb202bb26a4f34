"""LoRaWAN's uses of AES-128: integrity codes, the payload's cipher, join-accept messages and session keys.

Sections are those of the LoRaWAN Specification 1.0.3 (2018); 1.0.2 and 1.0.4 say the same. AES and CMAC come from
``cryptography``. What can be prepared for a key is kept, as a device's key is used for every frame of it; keys stay in
memory either way, and nothing here prints one.
"""

import struct
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

KEY_BYTES = 16
MIC_BYTES = 4
BLOCK_BYTES = 16
F_CNT_MAX = 0xFFFF_FFFF

UPLINK, DOWNLINK = 0, 1
"""The direction as it enters integrity codes and the cipher (§4.3.3, §4.4)."""

_KEYS_PREPARED = 32_768

_BLOCK = struct.Struct("<B4xB4sIxB")
"""B0 and Ai: a first byte, four zeros, the direction, DevAddr on the air's order, the counter, zero, a length or number."""


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The two keys of one session, 16 bytes each. Never printed."""

    nwk_s_key: bytes = field(repr=False)
    app_s_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.nwk_s_key) != KEY_BYTES or len(self.app_s_key) != KEY_BYTES:
            raise ValueError(f"LoRaWAN keys have {KEY_BYTES} bytes")


@lru_cache(maxsize=_KEYS_PREPARED)
def _prepared_cmac(key: bytes) -> CMAC:
    return CMAC(algorithms.AES(key))


@lru_cache(maxsize=_KEYS_PREPARED)
def _block_cipher(key: bytes) -> Cipher[modes.ECB]:
    # Single blocks are all that LoRaWAN asks of AES; the chaining is its own.
    return Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305


def _mic(key: bytes, message: bytes) -> bytes:
    code = _prepared_cmac(key).copy()
    code.update(message)
    return code.finalize()[:MIC_BYTES]


def _encrypt_blocks(key: bytes, blocks: bytes) -> bytes:
    # A context of its own for each call: two threads may use one key.
    return _block_cipher(key).encryptor().update(blocks)


def _decrypt_blocks(key: bytes, blocks: bytes) -> bytes:
    return _block_cipher(key).decryptor().update(blocks)


def data_mic(nwk_s_key: bytes, direction: int, dev_addr: bytes, f_cnt: int, signed: bytes) -> bytes:
    """The 4-byte MIC of a data frame (§4.4).

    Args:
        nwk_s_key: the network session key.
        direction: ``UPLINK`` or ``DOWNLINK``.
        dev_addr: 4 bytes as printed.
        f_cnt: the full 32-bit counter.
        signed: MHDR to the end of FRMPayload, as on the air.
    """
    return _mic(nwk_s_key, _BLOCK.pack(0x49, direction, dev_addr[::-1], f_cnt, len(signed)) + signed)


def crypt_payload(key: bytes, direction: int, dev_addr: bytes, f_cnt: int, payload: bytes) -> bytes:
    """Encrypt, or just as well decrypt, an FRMPayload (§4.3.3).

    Args:
        key: AppSKey, or NwkSKey on FPort 0.
        direction: ``UPLINK`` or ``DOWNLINK``.
        dev_addr: 4 bytes as printed.
        f_cnt: the full 32-bit counter.
        payload: at most 255 blocks; a frame cannot hold more than 16.
    """
    if not payload:
        return b""
    size = len(payload)
    address = dev_addr[::-1]
    count = (size + BLOCK_BYTES - 1) // BLOCK_BYTES
    stream = _encrypt_blocks(key, b"".join(_BLOCK.pack(1, direction, address, f_cnt, i) for i in range(1, count + 1)))
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream[:size], "big")).to_bytes(size, "big")


def join_mic(app_key: bytes, signed: bytes) -> bytes:
    """The 4-byte MIC of a join-request or of an unencrypted join-accept (§6.2.4, §6.2.5)."""
    return _mic(app_key, signed)


def encrypt_join_accept(app_key: bytes, content: bytes) -> bytes:
    """Encrypt a join-accept's content and MIC as the network does: with AES's *decryption*, so that a device needs only
    the other half (§6.2.5).

    Args:
        app_key: 16 bytes.
        content: everything after MHDR, with the MIC; 16 or 32 bytes.
    """
    return _decrypt_blocks(app_key, content)


def decrypt_join_accept(app_key: bytes, encrypted: bytes) -> bytes:
    """The inverse of ``encrypt_join_accept``, as a device does it."""
    return _encrypt_blocks(app_key, encrypted)


def derive_session_keys(app_key: bytes, app_nonce: int, net_id: int, dev_nonce: int) -> SessionKeys:
    """The session's keys from a join (§6.2.5).

    Args:
        app_key: 16 bytes.
        app_nonce: the network's nonce, 24 bits (JoinNonce since 1.0.4).
        net_id: 24 bits.
        dev_nonce: the device's nonce, 16 bits.
    """
    nonces = app_nonce.to_bytes(3, "little") + net_id.to_bytes(3, "little") + dev_nonce.to_bytes(2, "little") + bytes(7)
    derived = _encrypt_blocks(app_key, b"\x01" + nonces + b"\x02" + nonces)
    return SessionKeys(derived[:KEY_BYTES], derived[KEY_BYTES:])
