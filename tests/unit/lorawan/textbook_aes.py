"""AES-128 written down from FIPS 197, and CMAC from RFC 4493: slow, plain, and independent of what the product uses."""

from itertools import chain

BLOCK = 16


def _times_x(byte: int) -> int:
    return (byte << 1 ^ (0x1B if byte & 0x80 else 0)) & 0xFF


def _times(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = _times_x(a), b >> 1
    return product


def _substitute(byte: int) -> int:
    inverse = next((other for other in range(256) if _times(byte, other) == 1), 0)
    rotated = [inverse << turn | inverse >> (8 - turn) for turn in range(1, 5)]
    return (inverse ^ rotated[0] ^ rotated[1] ^ rotated[2] ^ rotated[3] ^ 0x63) & 0xFF


S_BOX = [_substitute(byte) for byte in range(256)]


def _round_keys(key: bytes) -> list[list[int]]:
    words = [list(key[place : place + 4]) for place in range(0, 16, 4)]
    constant = 1
    for place in range(4, 44):
        word = list(words[-1])
        if place % 4 == 0:
            word = [S_BOX[byte] for byte in word[1:] + word[:1]]
            word[0] ^= constant
            constant = _times_x(constant)
        words.append([a ^ b for a, b in zip(word, words[-4], strict=True)])
    return [list(chain.from_iterable(words[place : place + 4])) for place in range(0, 44, 4)]


def _mix(column: list[int]) -> list[int]:
    return [
        _times(column[row], 2) ^ _times(column[(row + 1) % 4], 3) ^ column[(row + 2) % 4] ^ column[(row + 3) % 4]
        for row in range(4)
    ]


def encrypt_block(key: bytes, block: bytes) -> bytes:
    keys = _round_keys(key)
    state = [a ^ b for a, b in zip(block, keys[0], strict=True)]
    for number in range(1, 11):
        state = [S_BOX[state[(place + 4 * (place % 4)) % 16]] for place in range(16)]
        if number < 10:
            state = list(chain.from_iterable(_mix(state[place : place + 4]) for place in range(0, 16, 4)))
        state = [a ^ b for a, b in zip(state, keys[number], strict=True)]
    return bytes(state)


def cmac(key: bytes, message: bytes) -> bytes:
    def doubled(block: bytes) -> bytes:
        number = int.from_bytes(block, "big") << 1
        return ((number & (1 << 128) - 1) ^ (0x87 if number >> 128 else 0)).to_bytes(16, "big")

    subkey = doubled(encrypt_block(key, bytes(BLOCK)))
    blocks = [message[place : place + BLOCK] for place in range(0, len(message), BLOCK)] or [b""]
    if len(blocks[-1]) < BLOCK:
        subkey = doubled(subkey)
        blocks[-1] = (blocks[-1] + b"\x80").ljust(BLOCK, b"\0")
    blocks[-1] = bytes(a ^ b for a, b in zip(blocks[-1], subkey, strict=True))
    state = bytes(BLOCK)
    for block in blocks:
        state = encrypt_block(key, bytes(a ^ b for a, b in zip(state, block, strict=True)))
    return state
