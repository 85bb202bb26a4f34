"""Answers on their way to the air: made a moment after they are asked for, so that the best packet forwarder is known."""

import logging
from typing import Final

from gateway.radio.answers import CannotAnswer, TooLate
from gateway.radio.heard import Answer
from gateway.radio.network import Network
from gateway.radio.receive_udp import NoRoute, UdpReceiver
from gateway.seldom import Seldom
from streamgauge.gateway_metrics import DOWNLINKS

log = logging.getLogger("streamgauge.gateway.downlink")

GATHER_S: Final = 0.15
"""Wait for other forwarders' copies of the uplink. RX1 opens 1 s after it, and a forwarder wants the frame some 100 ms before."""


class Answering:
    """Sends answers through packet forwarders. Any thread may ask.

    Args:
        network: makes the frames.
        receiver: sends them, in its own thread.
        gather_s: wait before a frame is made, seconds.
    """

    def __init__(self, network: Network, receiver: UdpReceiver, *, gather_s: float = GATHER_S) -> None:
        self._network = network
        self._receiver = receiver
        self._gather_s = gather_s
        self._trouble = Seldom(log, logging.WARNING, "a device could not be answered")

    def answer(self, answer: Answer) -> None:
        """Answer a device. What it answers to must have been committed."""
        self._receiver.call_later(self._gather_s, lambda: self._send(answer))

    def _send(self, answer: Answer) -> None:
        try:
            downlink = self._network.make_downlink(answer)
        except CannotAnswer as error:
            DOWNLINKS.labels("not_made_in_time" if isinstance(error, TooLate) else "not_made").inc()
            self._trouble.note(device=answer.device, detail=str(error))
            return
        try:
            self._receiver.send_downlink(downlink.forwarder, downlink.transmission)
        except NoRoute as error:
            self._trouble.note(device=answer.device, detail=str(error))
