"""The subscriber's MQTT connection notices that it is lost, however the broker says so."""

import select
import time

import pytest

from streamgauge.mqtt.link import BrokerUnavailable, LinkOptions, MqttLink


def link(mqtt_url: str) -> MqttLink:
    return MqttLink(
        LinkOptions(
            url=mqtt_url,
            protocol="auto",
            client_id="the-same-for-both",
            ca_file=None,
            receive_maximum=100,
            session_expiry_s=60,
            topics=["streamgauge/v1/devices/+/readings"],
        )
    )


def read_for(one: MqttLink, seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        if select.select([one.fileno()], [], [], 0.2)[0]:
            one.read()


def test_a_session_that_another_takes_over_is_a_lost_connection(mqtt_url: str) -> None:
    first, second = link(mqtt_url), link(mqtt_url)
    first.open()
    # An MQTT 5 broker says DISCONNECT (session taken over), upon which paho closes the socket and reports success.
    second.open()
    with pytest.raises(BrokerUnavailable):
        read_for(first, 10)
    assert not first.is_open
    second.leave()
    assert not second.is_open
