"""Writes docs/settings.md and docs/metrics.md from the code: ``python -m tests.architecture.write_docs``.

``test_documents.py`` fails while the files differ from what this writes.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from streamgauge import gateway_metrics, metrics, settings

PROJECT = Path(__file__).parents[2]

MADE = "<!-- Made by `python -m tests.architecture.write_docs`; edit the code, not this file. -->"

OTHER_VARIABLES = {
    "STREAMGAUGE_HOME": (
        "`make up`",
        "Folder of the embedded servers' data, logs and secrets; default `.streamgauge`.",
    ),
    "STREAMGAUGE_EMBEDDED_POSTGRES": ("`make up`, tests", "`auto`, `bundled` (the wheel's) or `system`."),
    "STREAMGAUGE_EMBEDDED_BROKER": ("`make up`, tests", "`auto`, `mosquitto` or `amqtt`."),
    "STREAMGAUGE_EMBEDDED_OWNER": (
        "`make up`",
        "Set by the supervisor in what it starts, so that it can find what is its own.",
    ),
    "STREAMGAUGE_EMBEDDED_FLOWER_LOGIN": ("`make up`", "Set by the supervisor for Flower: user and password."),
    "STREAMGAUGE_DEV_PASSWORD": ("`docker compose`", "Password of the servers in `compose.yaml`."),
    "STREAMGAUGE_HTTP_URL": ("simulator", "Where `--http` sends; written to `.streamgauge/urls.env` by `make up`."),
    "STREAMGAUGE_GATEWAY_UDP": (
        "simulator",
        "Where simulated forwarders send to, `host:port`; written to `.streamgauge/urls.env` by `make up`.",
    ),
    "STREAMGAUGE_GATEWAY_URL": (
        "other programs",
        "The gateway's page; written to `.streamgauge/urls.env` by `make up`.",
    ),
    "STREAMGAUGE_API_TOKEN": ("simulator", "The bearer token that `--http` sends with."),
    "STREAMGAUGE_NO_SKIPS": ("tests", "1: a skipped test is a failure."),
    "STREAMGAUGE_TEST_SEED": ("tests", "Seed of the test that kills parts at random."),
    "STREAMGAUGE_TEST_HYPOTHESIS": ("tests", "`explore`: property tests look for new examples in each run."),
    "STREAMGAUGE_TEST_SCREENSHOTS": ("tests", "Folder that the end-to-end tests put screenshots in."),
    "STREAMGAUGE_TEST_SLOW": ("tests", "1: also what downloads or takes minutes."),
}
"""Variables with the prefix that are no part's setting: who reads them, and what for."""

COMPUTED_METRICS = (
    (
        metrics.NEWEST_READING_AGE,
        "gauge",
        "device",
        "Age of a registered device's newest reading; asked of Postgres at each scrape.",
    ),
    (
        metrics.ROLLUP_LAG,
        "gauge",
        "",
        "How far behind now the roll-up is: 2 to 3 hours while it keeps up. Absent before its first step.",
    ),
    (
        metrics.DRIFT_CHANGED,
        "gauge",
        "",
        "Stations whose newest weekly drift report says changed; asked of Postgres at each scrape.",
    ),
    (
        metrics.MODEL_INFO,
        "gauge",
        "scope, alias, model, sha256",
        "1 for each alias: which model is champion or challenger of all stations, or of one.",
    ),
    (
        metrics.CHALLENGER_GATE,
        "gauge",
        "scope, model",
        "1 where the gate lets a challenger pass against the present champion, else 0.",
    ),
    (
        "flask_http_request_duration_seconds",
        "histogram",
        "method, status, url_rule",
        "Duration of HTTP requests, by URL rule.",
    ),
    ("flask_http_request_total", "counter", "method, status", "HTTP requests."),
)
"""Metrics that are no object of ``streamgauge.metrics``: computed when they are scraped, or prometheus-flask-exporter's."""


def settings_document() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        MADE,
        "",
        "Everything is set by environment variables. A part reads its settings once, before it connects to anything; if one is",
        "bad, missing or unknown it does not start, and names all of them in one message. Wherever a variable `NAME` is read,",
        "`NAME_FILE` may name a file to read the value from (a mounted secret). An empty value counts as absent.",
        "",
        *_table(("variable", "read by", "default", "meaning"), (
            (f"`{row.key}`", ", ".join(row.parts), _default(row.default), row.doc) for row in settings.document()
        )),
        "",
        "`make up` sets `STREAMGAUGE_AUTO_REGISTER=1` and generates the secret key.",
        "",
        "## Other variables",
        "",
        *_table(("variable", "read by", "meaning"), (
            (f"`{key}`", who, meaning) for key, (who, meaning) in sorted(OTHER_VARIABLES.items())
        )),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def metrics_document() -> str:
    """docs/metrics.md."""
    rows = sorted([*_declared_metrics(), *COMPUTED_METRICS])
    lines = [
        "# Metrics",
        "",
        MADE,
        "",
        "In Prometheus's text format on `/metrics` of each process. The web serves it on its own port; subscriber and workers do",
        "once `STREAMGAUGE_SUBSCRIBER_METRICS_PORT` and `STREAMGAUGE_WORKER_METRICS_PORT` are set; the gateway does on its own.",
        "",
        *_table(("metric", "type", "labels", "meaning"), (
            (f"`{name}`", kind, labels or "–", meaning) for name, kind, labels, meaning in rows
        )),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


DOCUMENTS = {"docs/settings.md": settings_document, "docs/metrics.md": metrics_document}


def main() -> None:
    """Write both."""
    for name, document in DOCUMENTS.items():
        path = PROJECT / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(document(), encoding="utf-8")


def _declared_metrics() -> Iterator[tuple[str, str, str, str]]:
    for value in [*vars(metrics).values(), *vars(gateway_metrics).values()]:
        if isinstance(value, MetricWrapperBase):
            described = next(iter(value.describe()))
            name = described.name + ("_total" if described.type == "counter" else "")
            yield name, described.type, ", ".join(value._labelnames), described.documentation


def _default(text: str) -> str:
    return text if text in {"required", "not set"} else f"`{text}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


if __name__ == "__main__":
    main()
