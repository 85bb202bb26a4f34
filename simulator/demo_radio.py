"""How good the demo's radio is: two forwarders that miss a frame now and then."""

from pathlib import Path

from simulator.air import AirOptions
from simulator.forwarder import ForwarderOptions
from simulator.radio import RadioOptions
from simulator.send_radio import RadioSendOptions
from simulator.unanswered import RepeatOptions

_CONFIRM_EVERY = 30
"""A frame a minute asks for an answer, by which a sensor notices that the gateway has forgotten it."""
_PATIENCE_S = 120.0


def demo_radio(gateway: tuple[str, int], folder: Path) -> RadioSendOptions:
    """Sensors that never wait and never give up; forwarders that hold two minutes of frames while the gateway is away.

    Args:
        gateway: host and port of its Semtech UDP.
        folder: where the fleet is.
    """
    radio = RadioOptions(
        gateway=gateway,
        air=AirOptions(loss=0.02, repeat=0.01, delay_s=0.05),
        forwarder=ForwarderOptions(repeat=RepeatOptions(patience_s=_PATIENCE_S)),
        state_folder=folder,
    )
    return RadioSendOptions(
        radio=radio, window=None, confirm_every=_CONFIRM_EVERY, join_wait_s=None, joins_per_s=10.0, give_up_s=None
    )
