"""Passwords: argon2id (RFC 9106) with argon2-cffi's defaults, and generated ones that a person can copy."""

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MAX_PASSWORD_LENGTH = 256
"""Longer ones are refused unhashed: hashing takes longer the longer they are."""
MIN_PASSWORD_LENGTH = 10
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
    known = password_hash if password_hash and password_hash.startswith("$argon2") else None
    try:
        _hasher.verify(known or _decoy_hash(), password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
    return known is not None


def is_outdated(password_hash: str) -> bool:
    """Whether a hash was made with parameters that are not today's: then it is made anew at the next sign-in."""
    try:
        return _hasher.check_needs_rehash(password_hash)
    except InvalidHashError:
        return False


def weakness(password: str, name: str) -> str | None:
    """Why a new password is refused: ``short``, ``long``, ``name`` (it repeats the user's name), ``plain``; else None.

    Length and not composition, as NIST SP 800-63B-4, section 3.1.1.2, has it.
    """
    if len(password) < MIN_PASSWORD_LENGTH:
        return "short"
    if len(password) > MAX_PASSWORD_LENGTH:
        return "long"
    if name and password.lower().replace(name.lower(), "") == "":
        return "name"
    return "plain" if len(set(password)) < 4 or "\0" in password else None


@cache
def _decoy_hash() -> str:
    return hash_password(generate_password())
