"""``/metrics``: requests by URL rule, and what only a look at Redis and Postgres can tell, taken when it is scraped."""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics
from redis import RedisError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.connections import Connections, connections
from app.declared import public
from streamgauge.metrics import (
    CHALLENGER_GATE,
    DRIFT_CHANGED,
    LIVE_CLIENTS,
    LIVE_DROPPED,
    LIVE_FRAMES,
    LIVE_LEFT,
    MODEL_INFO,
    NEWEST_READING_AGE,
    READINGS_DEAD,
    READINGS_RECEIVED,
    ROLLUP_LAG,
    UPLINKS,
)
from streamgauge.queue import QUEUES, queue_length
from streamgauge.storage.drift import count_changed
from streamgauge.storage.model_aliases import CHALLENGER, GENERAL, Alias, aliases, champion_of, latest_gate
from streamgauge.storage.read_overview import read_newest_times
from streamgauge.storage.rollup import read_through

log = logging.getLogger(__name__)
MAX_DEVICES = 2_000
"""Devices that get a time series of their own; Prometheus suffers from unbounded labels."""
CACHE_S = 5.0
_UNMATCHED = "unmatched"


class ScrapeCollector(Collector):
    """Queue lengths, ages of readings and of the roll-up, drift. What cannot be asked is absent: an alert can see that."""

    def __init__(self, linked: Connections) -> None:
        self._linked = linked

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask Redis and Postgres."""
        queues = GaugeMetricFamily("streamgauge_queue_messages", "Tasks that wait in a queue.", labels=["queue"])
        try:
            for queue in QUEUES:
                queues.add_metric([queue], queue_length(self._linked.redis, queue))
        except RedisError:
            log.warning("queue lengths unavailable", exc_info=True)
        yield queues
        ages = GaugeMetricFamily(NEWEST_READING_AGE, "Age of a registered device's newest reading.", labels=["device"])
        drifted = GaugeMetricFamily(DRIFT_CHANGED, "Stations whose newest weekly drift report says changed.")
        lag = GaugeMetricFamily(ROLLUP_LAG, "How far behind now the roll-up is.")
        now = datetime.now(UTC)
        try:
            with self._linked.engine.connect() as connection:
                newest = read_newest_times(connection, MAX_DEVICES)
                changed = count_changed(connection, now)
                through = read_through(connection)
                models = _aliased_models(connection)
        except SQLAlchemyError:
            log.warning("ages of readings unavailable", exc_info=True)
        else:
            for device, newest_time in newest.items():
                ages.add_metric([device], (now - newest_time).total_seconds())
            drifted.add_metric([], changed)
            if through is not None:
                lag.add_metric([], (now - through).total_seconds())
            yield from models
        yield ages
        yield drifted
        yield lag

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: registering must not ask anybody."""
        return iter(())


def _aliased_models(connection: Connection) -> list[GaugeMetricFamily]:
    """Which models are champions and challengers, and what the gate says of the latter."""
    info = GaugeMetricFamily(MODEL_INFO, "1 per alias of a model.", labels=["scope", "alias", "model", "sha256"])
    gates = GaugeMetricFamily(CHALLENGER_GATE, "Whether the gate lets a challenger pass.", labels=["scope", "model"])
    for alias in aliases(connection)[:MAX_DEVICES]:
        info.add_metric([_scope(alias), alias.alias, str(alias.model_id), alias.sha256], 1)
        if alias.alias == CHALLENGER:
            gate = latest_gate(connection, alias.model_id, alias.device_id) or {}
            current = gate.get("champion_id") == champion_of(connection, alias.device_id)
            gates.add_metric([_scope(alias), str(alias.model_id)], float(current and gate.get("passed") is True))
    return [info, gates]


def _scope(alias: Alias) -> str:
    return "all" if alias.device_id == GENERAL else alias.device or str(alias.device_id)


class _Scrape:
    """The text of a scrape, kept for a moment, so that many scrapers cost no more than one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._made_s = -CACHE_S
        self._text = b""

    def text(self) -> bytes:
        if time.monotonic() - self._made_s >= CACHE_S:
            self._text, self._made_s = generate_latest(self._registry), time.monotonic()
        return self._text


def url_rule() -> str:
    """The current request's URL rule: bounded, unlike its path."""
    return str(request.url_rule) if request.url_rule else _UNMATCHED


def init_app(app: Flask) -> None:
    """Count requests and serve ``/metrics``. Each application has its own registry, as a process may hold several in tests."""
    requests = CollectorRegistry()
    exporter = PrometheusMetrics(
        app=None,
        path=None,
        registry=requests,
        group_by="endpoint",
        default_labels={"url_rule": url_rule},
        # A WebSocket lasts as long as somebody looks: no latency.
        excluded_paths=["^/live$", "^/static/"],
    )
    exporter.init_app(app)
    with app.app_context():
        linked = connections()
    slow = CollectorRegistry()
    slow.register(ScrapeCollector(linked))
    for metric in (LIVE_CLIENTS, LIVE_DROPPED, LIVE_FRAMES, LIVE_LEFT, READINGS_DEAD, READINGS_RECEIVED, UPLINKS):
        requests.register(metric)
    scrape = _Scrape(slow)

    @app.get("/metrics")
    @public
    def metrics() -> Response:
        return Response(generate_latest(requests) + scrape.text(), content_type=CONTENT_TYPE_LATEST)
