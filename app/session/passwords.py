"""Passwords: argon2id (RFC 9106) with argon2-cffi's defaults, and generated ones that a person can copy."""

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MAX_PASSWORD_LENGTH = 256
"""Longer ones are refused unhashed: hashing takes longer the longer they are."""
GENERATED_BYTES = 15
_hasher = PasswordHasher()


def generate_password() -> str:
    """A password of 120 random bits."""
    return secrets.token_urlsafe(GENERATED_BYTES)


def hash_password(password: str) -> str:
    """The argon2id hash of a password, with its salt and parameters."""
    return _hasher.hash(password)


def is_right(password_hash: str | None, password: str) -> bool:
    """Whether a password is the one that was hashed. With no hash (no such user) it takes as long, and is wrong."""
    if len(password) > MAX_PASSWORD_LENGTH:
        return False
    try:
        _hasher.verify(password_hash or _decoy_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@cache
def _decoy_hash() -> str:
    return hash_password(generate_password())
