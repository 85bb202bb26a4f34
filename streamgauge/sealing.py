"""Secrets at rest: sealed under the gateway's key, each bound to the place where it stands.

AES-256-GCM (NIST SP 800-38D) under a key that HKDF-SHA256 (RFC 5869) derives from the gateway's key and a random salt of each
seal's own. The context is authenticated with it, so that one device's sealed key put in another's place does not open.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from streamgauge.errors import PermanentError

PREFIX: Final = "sealed:v1:"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_PURPOSE: Final = b"streamgauge sealing v1"


class SealBroken(PermanentError):
    """A sealed secret that this key and context do not open, or that is none. The message holds no part of it."""


def is_sealed(text: str) -> bool:
    """Whether a text is a sealed secret, of whatever key."""
    return text.startswith(PREFIX)


def seal(secret: bytes, key: str, context: str) -> str:
    """Seal a secret.

    Args:
        secret: any bytes.
        key: the gateway's key, a long random text (a short password would not resist guessing).
        context: where the secret stands, such as ``70B3D5…:app_key``; opening needs the same.

    Returns:
        ``sealed:v1:`` and URL-safe base64 of salt, nonce, ciphertext and tag.

    Raises:
        ValueError: the key is empty.
    """
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    sealed = AESGCM(_derived(key, salt)).encrypt(nonce, secret, context.encode())
    return PREFIX + urlsafe_b64encode(salt + nonce + sealed).decode("ascii")


def unseal(sealed: str, key: str, context: str) -> bytes:
    """Open a sealed secret.

    Raises:
        SealBroken: it is none, it was altered, or key or context are not those it was sealed under.
        ValueError: the key is empty.
    """
    if not is_sealed(sealed):
        raise SealBroken(f"the secret for {context} is not sealed: it does not begin with {PREFIX!r}")
    try:
        packed = urlsafe_b64decode(sealed.removeprefix(PREFIX).encode("ascii"))
    except (UnicodeEncodeError, Base64Error) as error:
        raise SealBroken(f"the sealed secret for {context} is not base64; was it cut?") from error
    if len(packed) < _SALT_BYTES + _NONCE_BYTES + _TAG_BYTES:
        raise SealBroken(f"the sealed secret for {context} is too short; was it cut?")
    salt, rest = packed[:_SALT_BYTES], packed[_SALT_BYTES:]
    try:
        return AESGCM(_derived(key, salt)).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.encode())
    except InvalidTag as error:
        raise SealBroken(
            f"the sealed secret for {context} does not open: sealed under another key or for another place"
        ) from error


def _derived(key: str, salt: bytes) -> bytes:
    if not key:
        raise ValueError("sealing needs the gateway's key, which is empty")
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=_PURPOSE).derive(key.encode())
