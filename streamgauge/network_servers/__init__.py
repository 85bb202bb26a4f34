"""Uplinks that another LoRaWAN network server has received: ChirpStack v4 and The Things Stack v3, by MQTT or webhook.

Pure functions: a message's bytes in, ``NetworkUplink`` or ``Ignored`` out. Both servers write JSON as Protocol Buffers do,
which leaves out whatever is zero, empty or false: a key that is missing means that.
"""

from collections.abc import Callable, Mapping

from streamgauge.network_servers import chirpstack, the_things_stack
from streamgauge.network_servers.uplink import Ignored, NetworkUplink

PARSERS: Mapping[str, Callable[[bytes], NetworkUplink | Ignored]] = {
    chirpstack.NETWORK: chirpstack.parse,
    the_things_stack.NETWORK: the_things_stack.parse,
}
"""By network's name, what reads its messages."""


def parse(network: str, message: bytes) -> NetworkUplink | Ignored:
    """Read one message of a network server.

    Args:
        network: a key of ``PARSERS``.
        message: its bytes, as they came.

    Raises:
        InvalidMessage: it is none of that server's uplinks, or its payload is still encrypted.
    """
    return PARSERS[network](message)
