"""What can be asked of ``python -m gateway`` besides running: decode, models, check, seal, token, forget-nonces."""

import argparse
import fcntl
import getpass
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from gateway.decode_command import BadArguments, decode_command
from streamgauge.errors import SettingsError, StreamgaugeError
from streamgauge.payloads.registry import find, models
from streamgauge.sealing import seal
from streamgauge.settings import PREFIX, GatewaySettings, load

DONE, PROBLEM, BAD_ARGUMENTS = 0, 1, 2
KEY_VARIABLE = PREFIX + "GATEWAY_KEY"
TOKEN_BYTES = 32
LOCK_FILE = "buffer.lock"
"""What a running gateway holds in its folder (``gateway.buffer``)."""


def decode(options: argparse.Namespace) -> int:
    """Print one payload as JSON."""
    try:
        status, shown = decode_command(options.model, options.layout, options.fport, options.hex, options.param)
    except BadArguments as error:
        print(error, file=sys.stderr)
        return BAD_ARGUMENTS
    print(json.dumps(shown, ensure_ascii=False, indent=2))
    return status


def list_models(_options: argparse.Namespace) -> int:
    """Print the models that are known, and what is to be configured of each."""
    for model in models():
        codec = find(model)
        needs = [f"{p.name} ({p.unit})" if p.unit else p.name for p in codec.parameters if not p.optional]
        print(f"{model:<24} {codec.measures:<9} {', '.join(needs)}".rstrip())
    return DONE


def check_configuration(_options: argparse.Namespace) -> int:
    """Validate settings, configuration and keys, and what they lead to."""
    # Imported where it is needed: the other commands need neither a broker's client nor the model.
    from gateway.check import check

    try:
        settings = load(GatewaySettings, os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return BAD_ARGUMENTS
    findings = check(settings)
    for finding in findings:
        print(f"{'ok  ' if finding.is_good else 'BAD '} {finding.subject}: {finding.sentence}")
    bad = sum(not finding.is_good for finding in findings)
    print(f"{bad} of {len(findings)} checks failed" if bad else f"All {len(findings)} checks passed")
    return PROBLEM if bad else DONE


def seal_key(options: argparse.Namespace) -> int:
    """Read a key in hexadecimal from standard input and print it sealed, for gateway.toml."""
    key = _gateway_key()
    if key is None:
        print(f"{KEY_VARIABLE} (or {KEY_VARIABLE}_FILE) must be set: it is what keys are sealed under", file=sys.stderr)
        return BAD_ARGUMENTS
    try:
        dev_eui = bytes.fromhex(options.dev_eui.replace(":", "").replace("-", ""))
        typed = getpass.getpass("Key (32 hexadecimal digits): ") if sys.stdin.isatty() else sys.stdin.readline()
        secret = bytes.fromhex(typed.strip())
    except ValueError:
        # The message never repeats what was typed: it is a key.
        print("DevEUI and key are hexadecimal: 16 and 32 digits", file=sys.stderr)
        return BAD_ARGUMENTS
    if len(dev_eui) != 8 or len(secret) != 16:
        print("A DevEUI has 16 hexadecimal digits, a key 32", file=sys.stderr)
        return BAD_ARGUMENTS
    print(f'{options.field} = "{seal(secret, key, f"{dev_eui.hex().upper()}:{options.field}")}"')
    return DONE


def forget_nonces(options: argparse.Namespace) -> int:
    """Let a device that has lost its memory join again with DevNonces that it has used before."""
    from gateway.radio import sessions_file

    try:
        dev_eui = bytes.fromhex(options.dev_eui.replace(":", "").replace("-", ""))
    except ValueError:
        dev_eui = b""
    if len(dev_eui) != 8:
        print("A DevEUI has 16 hexadecimal digits", file=sys.stderr)
        return BAD_ARGUMENTS
    try:
        folder = load(GatewaySettings, os.environ).directory
    except SettingsError as error:
        print(error, file=sys.stderr)
        return BAD_ARGUMENTS
    try:
        with stopped(folder):
            count = sessions_file.forget_nonces(folder / sessions_file.FILE_NAME, dev_eui)
    except (StreamgaugeError, OSError) as error:
        print(error, file=sys.stderr)
        return PROBLEM
    name = dev_eui.hex().upper()
    print(f"{name}: {count} used DevNonces are forgotten. It may join with any DevNonce, once each.")
    print(
        "What this means: whoever has recorded its earlier join requests can play them back, and each is accepted once. They get "
        "no keys by that and no readings in, but may fill the device's places for sessions not yet used. A new AppKey for the "
        "device does the same without that."
    )
    return DONE


@contextmanager
def stopped(folder: Path) -> Iterator[None]:
    """While no gateway runs with this folder.

    Raises:
        OSError: one does, or the folder cannot be used.
    """
    with (folder / LOCK_FILE).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"a gateway runs with {folder}: stop it first") from error
        yield


def make_token(_options: argparse.Namespace) -> int:
    """Print a new token for a sensor that posts its readings, and the line for gateway.toml."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    print(f"For the sensor (it is not shown again): Authorization: Bearer {token}")
    print(f'For its table in gateway.toml:          token_sha256 = "{sha256(token.encode()).hexdigest()}"')
    return DONE


def _gateway_key() -> str | None:
    file_name = os.environ.get(KEY_VARIABLE + "_FILE")
    if file_name:
        try:
            return Path(file_name).read_text(encoding="utf-8").strip() or None
        except OSError as error:
            print(f"{file_name} cannot be read: {error.strerror}", file=sys.stderr)
            return None
    return os.environ.get(KEY_VARIABLE) or None
