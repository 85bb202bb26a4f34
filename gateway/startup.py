"""The one place that builds a gateway from its settings, starts it, and stops it in the order that loses nothing."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address

import streamgauge
from gateway.alarms.alarms import Alarms
from gateway.alarms.notify import Messenger
from gateway.buffer.buffer import Buffer
from gateway.buffer.keeper import Keeper
from gateway.clock import Clock
from gateway.configuration import Configuration, read_configuration
from gateway.handover.batches import BatchOptions
from gateway.handover.publish import Publisher, PublishOptions
from gateway.journal import Journal
from gateway.judging.loop import Judging
from gateway.judging.predict import Predictor
from gateway.page.application import page_application
from gateway.pipeline import Pipeline, Surroundings
from gateway.precious import Precious
from gateway.radio.downlink import Answering
from gateway.radio.heard import Answer
from gateway.radio.network import Network
from gateway.radio.receive_udp import UdpReceiver
from gateway.radio.sessions import FILE_NAME as SESSIONS_FILE
from gateway.radio.sessions import SessionStore
from gateway.receive_http import HttpServer, http_application
from gateway.receive_mqtt import RECEIVE_MAXIMUM as LOCAL_RECEIVE_MAXIMUM
from gateway.receive_mqtt import SESSION_EXPIRY_S as LOCAL_SESSION_EXPIRY_S
from gateway.receive_mqtt import TOPIC, LocalMqttReceiver
from gateway.refused import RefusedPayloads
from gateway.state import StateOf
from gateway.uplink import UplinkWatch
from streamgauge import logs
from streamgauge.errors import SettingsError, StreamgaugeError
from streamgauge.lorawan.regions import REGIONS, sub_band_cf_list
from streamgauge.mqtt.link import LinkOptions
from streamgauge.scoring.edge import EdgeModel
from streamgauge.settings import GatewaySettings, load
from streamgauge.wire import Limits

log = logging.getLogger("streamgauge.gateway")

CANNOT_START = 2
FAILED = 1
ANSWERS_AT_ONCE = 1_000


def run() -> int:
    """Run a gateway until SIGTERM or SIGINT; returns the exit status."""
    try:
        settings = load(GatewaySettings, os.environ)
        if page_must_be_locked(settings):
            raise SettingsError(
                ["STREAMGAUGE_GATEWAY_PAGE_PASSWORD must be set where the page's address is not loopback"]
            )
        logs.configure("gateway", settings.log_level)
        gateway = Gateway(settings)
    except (StreamgaugeError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return CANNOT_START
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    gateway.start()
    log.info("started", extra={"gateway": settings.name, "buffered": gateway.buffer.count})
    try:
        failed = not gateway.wait(stopping)
    except Exception:
        # Half a gateway would look alive and be silent: it ends, to be started anew.
        log.exception("the gateway ends by itself")
        failed = True
    gateway.stop()
    log.info("stopped")
    return FAILED if failed else 0


def page_must_be_locked(settings: GatewaySettings) -> bool:
    """Whether the page can be reached from elsewhere and has no password."""
    return bool(settings.http_port) and not _is_loopback(settings.http_host) and settings.page_password is None


class Gateway:
    """Everything that makes a gateway, connected. ``buffer`` is open once this is made; nothing runs before ``start``.

    Raises:
        StreamgaugeError: something of the settings, the configuration, the model or the files cannot be used.
        OSError: a port cannot be opened.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        found = read_configuration(settings.config_file, settings.key)
        self._settings = settings
        self._clock = Clock()
        self._journal = Journal()
        self.buffer = Buffer(settings.directory, max_bytes=settings.buffer_max_bytes)
        self._refused = RefusedPayloads(settings.directory)
        self._keeper = Keeper(self.buffer, settings.max_waiting_readings, self._refused.keep_given_up)
        self._publisher = Publisher(link_options(settings), self._keeper, self.buffer, publish_options(settings))
        # Without LoRaWAN sensors there may be no key, and nothing to seal; the configuration demands one for the first of them.
        self._sessions = SessionStore(settings.directory / SESSIONS_FILE, settings.key or "no LoRaWAN sensors")
        self._network = self._new_network(found)
        self._messenger = Messenger(found.alarms, note=self._journal.record_alarm, told=self._told)
        self._alarms = Alarms(
            found.rules,
            self._messenger.send,
            note=self._journal.record_alarm,
            gateway=settings.name,
            offline_after_s=settings.offline_after_s,
        )
        model = EdgeModel.load(settings.model_dir) if settings.model_dir else EdgeModel.load()
        self._predictor = Predictor(model, future_tolerance_s=settings.future_tolerance_s)
        uplink = UplinkWatch(self._publisher.link_state, lambda: self.buffer.count)
        self._judging = Judging(self._predictor, self._alarms, self._keeper, uplink.is_down, self._clock.now_us)
        self._judging.restore(self.buffer, found.devices)
        self._pipeline = Pipeline(
            Surroundings(
                devices=found.devices,
                network=self._network,
                keeper=self._keeper,
                journal=self._journal,
                refused=self._refused,
                send_downlink=self._send_downlink,
                is_precious=Precious(found.rules, self._alarms),
                limits=limits_of(settings),
                now_us=self._clock.now_us,
            )
        )
        self._udp = self._new_udp(found)
        self._answering = Answering(self._network, self._udp) if self._udp else None
        self._http = self._new_http(found)
        self._local = self._new_local()
        self._stopping = False
        self._publishing = threading.Thread(
            target=self._publisher.run, args=(lambda: self._stopping,), name="publish", daemon=True
        )
        self._listening = None if self._local is None else self._new_listening(self._local)

    def start(self) -> None:
        """Start everything; what hears comes last."""
        self._keeper.on_commit(self._judging.take)
        self._messenger.start()
        self._keeper.start()
        self._judging.start()
        self._publishing.start()
        if self._http is not None:
            self._http.start()
        if self._listening is not None:
            self._listening.start()
        if self._udp is not None:
            self._udp.start()

    def wait(self, stopping: threading.Event) -> bool:
        """Wait to be stopped, with an eye on the clock; returns whether that is why it ended."""
        while not stopping.wait(1.0):
            self._clock.now_us()
            if not self._publishing.is_alive():
                log.error("the publisher has ended by itself: the gateway stops, to be started anew")
                return False
        return True

    def stop(self) -> None:
        """Stop hearing, keep what was heard, stop publishing. Whatever is not acknowledged comes again."""
        self._stopping = True
        self._pipeline.stop()
        if self._udp is not None:
            self._udp.stop()
        if self._local is not None and self._listening is not None:
            self._local.wake()
            self._listening.join(5)
        if self._http is not None:
            self._http.stop()
        self._publisher.wake()
        self._publishing.join(10)
        self._judging.stop()
        self._keeper.stop()
        self._publisher.close()
        self._messenger.stop()
        self._sessions.close()
        self._refused.close()
        self.buffer.close()

    def _told(self, alarm_id: str) -> None:
        self._alarms.told(alarm_id)

    def _send_downlink(self, answer: Answer) -> None:
        if self._answering is not None:
            self._answering.answer(answer)

    def _new_network(self, found: Configuration) -> Network:
        settings = self._settings
        return Network(
            found.devices.values(),
            self._sessions,
            self.buffer.counters(),
            region=REGIONS[settings.region],
            cf_list=sub_band_cf_list(settings.sub_band) if settings.sub_band else b"",
        )

    def _new_udp(self, found: Configuration) -> UdpReceiver | None:
        settings = self._settings
        if not settings.udp_port:
            return None
        try:
            return UdpReceiver(
                (settings.udp_host, settings.udp_port),
                self._pipeline.take_frames,
                allowed=found.forwarders,
                datagrams_per_s=settings.udp_datagrams_per_s,
            )
        except OSError as error:
            where = f"UDP {settings.udp_host}:{settings.udp_port}"
            raise OSError(f"{where} cannot be opened ({error.strerror}); does another gateway run?") from error

    def _new_http(self, found: Configuration) -> HttpServer | None:
        settings = self._settings
        if not settings.http_port:
            return None
        state = StateOf(
            settings=settings,
            configuration=found,
            buffer=self.buffer,
            keeper=self._keeper,
            publisher=self._publisher,
            clock=self._clock,
            alarms=self._alarms,
            receiver=self._udp,
        )
        application = http_application(
            devices=found.devices.values(),
            handle=lambda device, payload, done: self._pipeline.take_message(device, payload, "http", done),
            page=page_application(self._journal, state, self._predictor.newest),
            page_password=settings.page_password,
            max_body_bytes=settings.max_message_bytes,
        )
        try:
            return HttpServer(application, settings.http_host, settings.http_port, settings.max_message_bytes)
        except OSError as error:
            where = f"HTTP {settings.http_host}:{settings.http_port}"
            raise OSError(f"{where} cannot be opened ({error.strerror}); does another gateway run?") from error

    def _new_local(self) -> LocalMqttReceiver | None:
        if self._settings.local_mqtt_url is None:
            return None
        options = LinkOptions(
            url=self._settings.local_mqtt_url,
            protocol="auto",
            client_id=f"{self._settings.name}-local",
            ca_file=self._settings.mqtt_ca_file,
            receive_maximum=LOCAL_RECEIVE_MAXIMUM,
            session_expiry_s=LOCAL_SESSION_EXPIRY_S,
            topics=(TOPIC,),
        )
        return LocalMqttReceiver(options, self._pipeline.take_published)

    def _new_listening(self, local: LocalMqttReceiver) -> threading.Thread:
        should_stop: Callable[[], bool] = lambda: self._stopping  # noqa: E731 - one name for one thread's end
        return threading.Thread(target=local.run, args=(should_stop,), name="local mqtt", daemon=True)


def limits_of(settings: GatewaySettings) -> Limits:
    """What is accepted of sensors with IP, and of times in payloads: the same as in the cloud."""
    return Limits(
        max_message_bytes=settings.max_message_bytes,
        max_batch_readings=settings.max_batch_readings,
        earliest=settings.earliest_time,
        future_tolerance=timedelta(seconds=settings.future_tolerance_s),
    )


def publish_options(settings: GatewaySettings) -> PublishOptions:
    """How batches travel."""
    return PublishOptions(
        gateway=settings.name,
        version=streamgauge.__version__,
        batches=BatchOptions(
            batch_readings=settings.batch_readings,
            batch_age_s=settings.batch_age_s,
            batch_window=settings.batch_window,
            compress_bytes=settings.compress_bytes,
            max_batch_bytes=settings.max_message_bytes,
        ),
        resend_after_s=settings.resend_after_s,
    )


def link_options(settings: GatewaySettings) -> LinkOptions:
    """How to connect to the cloud's broker; the publisher adds its topics and its last will."""
    return LinkOptions(
        url=settings.mqtt_url,
        protocol=settings.mqtt_protocol,
        client_id=settings.name,
        ca_file=settings.mqtt_ca_file,
        receive_maximum=ANSWERS_AT_ONCE,
        session_expiry_s=0,
        topics=(),
        certificate_file=settings.certificate_file,
        key_file=settings.certificate_key_file,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
