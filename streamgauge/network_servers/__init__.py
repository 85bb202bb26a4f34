"""Uplinks that another LoRaWAN network server has received: ChirpStack v4 and The Things Stack v3, by MQTT or webhook.

Pure functions: a message's bytes in, ``NetworkUplink`` or ``Ignored`` out. Both servers write JSON as Protocol Buffers do,
which leaves out whatever is zero, empty or false: a key that is missing means that.
"""

from streamgauge.network_servers import chirpstack, the_things_stack
from streamgauge.network_servers.uplink import Ignored, NetworkUplink

_PARSE = {chirpstack.NETWORK: chirpstack.parse, the_things_stack.NETWORK: the_things_stack.parse}
_WITHOUT_KEYS = {chirpstack.NETWORK: chirpstack.without_keys, the_things_stack.NETWORK: the_things_stack.without_keys}
NETWORKS = frozenset(_PARSE)
"""The names of the network servers whose messages are understood."""


def parse(network: str, message: bytes) -> NetworkUplink | Ignored:
    """Read one message of a network server.

    Args:
        network: one of ``NETWORKS``.
        message: its bytes, as they came.

    Raises:
        InvalidMessage: it is none of that server's uplinks, or its payload is still encrypted.
    """
    return _PARSE[network](message)


def without_keys(network: str, message: bytes) -> bytes:
    """A message as it may be kept as a dead letter: as it came, but for session keys, which are taken out.

    Args:
        network: one of ``NETWORKS``.
        message: its bytes; they need not be sound.
    """
    return _WITHOUT_KEYS[network](message)
