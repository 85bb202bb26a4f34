"""Where payloads of our own sensors go that could not become readings: a bounded file, with their bytes and the reason.

They never stop the path and never vanish. What is heard of strangers is not kept: it is counted and shown on the page.
"""

import logging
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path

import orjson

from gateway.entries import Entry
from streamgauge.gateway_metrics import READINGS_REFUSED
from streamgauge.logs import JsonFormatter
from streamgauge.wire import encode_reading

FILE_NAME = "refused.log"
FILE_BYTES = 5 * 2**20
FILES_KEPT = 4
LONGEST_PAYLOAD_BYTES = 65_536


class RefusedPayloads:
    """A rotating file of JSON lines; at most ``FILES_KEPT`` + 1 files of ``FILE_BYTES``. Threads may share it."""

    def __init__(self, directory: Path) -> None:
        self._log = logging.Logger("streamgauge.gateway.refused")  # noqa: LOG001 - apart from the program's own log
        handler = RotatingFileHandler(
            directory / FILE_NAME, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True
        )
        handler.setFormatter(JsonFormatter("gateway"))
        self._log.addHandler(handler)

    def keep(self, *, source: str, device: str, reason: str, detail: str, payload: bytes) -> None:
        """Keep one payload, and count it.

        Args:
            source: the way in: ``udp``, ``http`` or ``mqtt``; or ``buffer``, which could not keep it.
            device: whose it is.
            reason: a metric's label, never free text.
            detail: what was wrong, for a person.
            payload: its bytes; of very long ones the beginning is kept.
        """
        READINGS_REFUSED.labels(reason).inc()
        self._log.warning(
            "payload refused",
            extra={
                "source": source,
                "device": device,
                "reason": reason,
                "detail": detail,
                "payload_bytes": len(payload),
                "payload_hex": payload[:LONGEST_PAYLOAD_BYTES].hex(),
            },
        )

    def keep_given_up(self, entries: Sequence[Entry], reason: str) -> None:
        """Keep readings that can never be committed, each as the wire's JSON, or in Python's words if it has none.

        Args:
            entries: the readings.
            reason: why not, for a person.
        """
        for entry in entries:
            reading = entry.reading
            try:
                payload = orjson.dumps(encode_reading(reading))
            except TypeError:
                payload = repr(reading).encode()
            self.keep(source="buffer", device=reading.device, reason="not_kept", detail=reason, payload=payload)

    def close(self) -> None:
        """Close the file."""
        for handler in self._log.handlers:
            handler.close()
