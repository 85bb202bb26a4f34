"""A sensor as its gateway knows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamgauge.payloads.base import Codec
from streamgauge.payloads.installation import Installation

Activation = Literal["otaa", "abp", "ip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One sensor.

    Attributes:
        name: the wire's device.
        codec: how its frames are read; None for sensors that send readings by themselves (``ip``).
        parameters: what the codec must know of this device.
        installation: how it stands.
        activation: LoRaWAN over the air or by personalisation, or ``ip``: HTTP and local MQTT.
        dev_eui: 8 bytes, as printed.
        join_eui: 8 bytes, as printed; also called AppEUI. None: not checked.
        app_key: 16 bytes; over-the-air activation.
        dev_addr: 4 bytes, as printed; activation by personalisation, likewise the session keys.
        nwk_s_key: 16 bytes.
        app_s_key: 16 bytes.
        relax_counter: the device forgets its frame counter at a power cut (personalised devices do). This lets a recorded
            frame be played back; it is off unless there is no other way.
        token_sha256: hash of the token that it shows at ``POST /readings``.
    """

    name: str
    codec: Codec | None
    parameters: Mapping[str, float]
    installation: Installation
    activation: Activation
    dev_eui: bytes | None = None
    join_eui: bytes | None = None
    app_key: bytes | None = field(default=None, repr=False)
    dev_addr: bytes | None = None
    nwk_s_key: bytes | None = field(default=None, repr=False)
    app_s_key: bytes | None = field(default=None, repr=False)
    relax_counter: bool = False
    token_sha256: bytes | None = field(default=None, repr=False)

    @property
    def model(self) -> str | None:
        """The codec's name."""
        return None if self.codec is None else self.codec.model
