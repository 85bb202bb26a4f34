"""One try to tell an alarm: an HTTP POST, or a command with the alarm on its standard input. Both end within their timeout."""

import contextlib
import http.client
import os
import selectors
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import IO, Any

from streamgauge.errors import TransientError

OUTPUT_BYTES = 2_000
"""So much of a command's output is kept for the log."""
_READ_BYTES = 65_536


class NotTold(TransientError):
    """An alarm did not get out; the message says why."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its content."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def post(url: str, content: bytes, timeout_s: float) -> str:
    """Post JSON.

    Args:
        url: http or https.
        content: the JSON.
        timeout_s: of connecting, and of each wait for the answer.

    Returns:
        What it answered, for the log.

    Raises:
        NotTold: it could not be reached, or answered anything but 2xx.
    """
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "streamgauge-gateway"}
    opener = urllib.request.build_opener(_NoRedirects())
    try:
        request = urllib.request.Request(url, data=content, headers=headers, method="POST")  # noqa: S310 - http(s), validated
        with opener.open(request, timeout=timeout_s) as answer:
            return f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        with error:
            raise NotTold(f"it answered HTTP {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotTold(f"it could not be reached: {error}") from error


def run_command(argv: Sequence[str], content: bytes, timeout_s: float) -> str:
    """Run a command, without a shell, in a process group of its own that is killed when the time is up.

    Args:
        argv: program and arguments.
        content: what it reads.
        timeout_s: for all of it, its children too.

    Returns:
        The beginning of what it printed.

    Raises:
        NotTold: it could not be started, took too long, or did not exit with 0.
    """
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise NotTold(f"{argv[0]} could not be started: {error}") from error
    deadline_s = time.monotonic() + timeout_s
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        printed = _exchange(process.stdin, process.stdout, content, deadline_s)
        code = process.wait(max(0.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise NotTold(f"{argv[0]} did not end within {timeout_s:g} s") from error
    finally:
        _end(process)
    text = printed.decode("utf-8", "replace").strip()
    if code != 0:
        raise NotTold(f"{argv[0]} exited with {code}: {text}" if text else f"{argv[0]} exited with {code}")
    return text or "exit 0"


def _exchange(stdin: IO[bytes], stdout: IO[bytes], content: bytes, deadline_s: float) -> bytes:
    """Write what the command reads and read what it prints, until it closes its output; keeps the beginning.

    Raises:
        subprocess.TimeoutExpired: that did not come in time.
    """
    printed = bytearray()
    os.set_blocking(stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        selector.register(stdin, selectors.EVENT_WRITE)
        while stdout in {key.fileobj for key in selector.get_map().values()}:
            ready = selector.select(max(0.0, deadline_s - time.monotonic()))
            if time.monotonic() >= deadline_s:
                raise subprocess.TimeoutExpired("", 0)
            for key, _ in ready:
                if key.fileobj is stdout:
                    chunk = os.read(stdout.fileno(), _READ_BYTES)
                    printed += chunk[: OUTPUT_BYTES - len(printed)]
                    if not chunk:
                        selector.unregister(stdout)
                else:
                    content = _write(stdin, content)
                    if not content:
                        selector.unregister(stdin)
                        _close(stdin)
    return bytes(printed)


def _write(stdin: IO[bytes], content: bytes) -> bytes:
    """Write some; returns what is left, nothing if the command does not read."""
    try:
        return content[os.write(stdin.fileno(), content) :]
    except BrokenPipeError:
        return b""


def _close(stream: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # The command has ended without reading; its exit code tells.
        stream.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Whatever is left of the command's process group ends here."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            _close(stream)
