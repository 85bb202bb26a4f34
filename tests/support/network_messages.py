"""Messages of ChirpStack and The Things Stack under ``tests/data/network_servers``, and what each must come to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from streamgauge.storage.devices import Registration, write_registration

FOLDER = Path(__file__).parents[1] / "data" / "network_servers"

REGISTERED = (
    Registration(
        name="weir",
        dev_eui="70B3D57BA000012F",
        model="decentlab_dl_mbx",
        installation={"sensor_height_m": 5.0},
    ),
    Registration(name="culvert", dev_eui="24E124136D446138", model="milesight_em500_swl"),
    Registration(name="bare", dev_eui="70B3D57BA0000BAD"),
)
"""The devices that the messages come from; ``bare`` has no model, and the strangers are not registered."""


@dataclass(frozen=True)
class Case:
    """One message and what it must come to: ``decoded``, ``status``, ``ignored`` or ``refused``."""

    name: str
    network: str
    topic: str
    event: str
    message: bytes
    expected: Mapping[str, Any]

    @property
    def outcome(self) -> str:
        return str(self.expected["outcome"])

    @property
    def needs_topic(self) -> bool:
        """Whether what is wrong with it is in its topic, which a webhook has not got."""
        return self.expected.get("reason") == "device_mismatch"


def load_cases() -> dict[str, Case]:
    """Every recorded message by its name."""
    return {path.stem: _load(path) for path in sorted(FOLDER.glob("*.json"))}


def register_all(connection: Connection) -> None:
    """Register the devices that the messages come from."""
    for registration in REGISTERED:
        write_registration(connection, registration)


def _load(path: Path) -> Case:
    recorded = json.loads(path.read_text(encoding="utf-8"))
    message = recorded["text"].encode() if "text" in recorded else json.dumps(recorded["message"]).encode()
    return Case(
        name=path.stem,
        network=recorded["network"],
        topic=recorded["topic"],
        event=recorded.get("event", ""),
        message=message,
        expected=recorded["expected"],
    )
