"""Every page that people see, by its endpoint, as the flood of ``tests.support.scene`` fills it."""

from typing import Final

from playwright.sync_api import Page, expect

SIZES: Final[dict[str, dict[str, int]]] = {
    "desktop": {"width": 1440, "height": 900},
    "phone": {"width": 390, "height": 844},
}
PAGES: Final[dict[str, tuple[str, str]]] = {
    "overview.show": ("overview", "/"),
    "stations.show": ("station", "/stations/dead-run"),
    "stations.show_comparison": ("compare", "/compare?device=dead-run&device=gwynns-falls&device=mill-brook"),
    "stations.show_worth": ("worth", "/stations/dead-run/worth"),
    "stations.show_site": ("site", "/stations/dead-run/site"),
    "corrections.show": ("corrections", "/stations/dead-run/corrections"),
    "site.show_records": ("records", "/stations/dead-run/records"),
    "alerts.show_alerts": ("alerts", "/alerts"),
    "alerts.show_alert": ("alert", "/alerts/1"),
    "history.show": ("history", "/history?device=dead-run&range=24h"),
    "devices.show_list": ("devices", "/devices"),
    "devices.show_device": ("device", "/devices/weir"),
    "devices.show_edit": ("device-edit", "/devices/weir/edit"),
    "devices.show_new": ("device-new", "/devices/register/new"),
    "devices.show_csv": ("devices-csv", "/devices/register/csv"),
    "devices.show_qr": ("device-qr", "/devices/register/qr"),
    "devices.show_decode": ("decode", "/devices/register/decode?device=weir"),
    "models.show": ("models", "/models"),
    "models.show_model": ("model", "/models/1"),
    "models.show_runs": ("runs", "/models/runs"),
    "models.show_run": ("run", "/models/runs/1"),
    "operations.show_operations": ("operations", "/operations"),
    "operations.show_letters": ("letters", "/operations/dead-letters"),
    "operations.show_letter": ("letter", "/operations/dead-letters/1"),
    "admin.show_users": ("users", "/admin"),
    "admin.show_user": ("user", "/admin/users/1"),
    "admin.show_tokens": ("tokens", "/admin/tokens"),
    "admin.show_audit": ("audit", "/admin/audit"),
    "account.show": ("account", "/account"),
    "api.show_docs": ("api-docs", "/api/v1/docs"),
    "session.login": ("login", "/login"),
}
"""Name and address by endpoint."""
FURTHER: Final[dict[str, str]] = {
    "station-fault": "/stations/harbour",
    "station-silent": "/stations/mill-brook",
    "overview-list": "/?view=list",
    "overview-wall": "/?view=wall",
    "history-empty": "/history",
    "history-wrong": "/history?device=dead-run&range=between&from=2026-11-02T00:00&to=2026-11-01T00:00",
    "missing": "/stations/nowhere",
}
"""Other states of these pages that are worth a look, by name."""
NO_PAGES: Final[frozenset[str]] = frozenset(
    {
        # Fragments of pages: they are looked at where they stand.
        "alerts.show_list",
        "history.show_export",
        "history.show_stations",
        "models.show_progress",
        "operations.show_path",
        "operations.show_progress",
        "operations.show_storage",
        "operations.show_workers",
        "overview.cards",
        "overview.page",
        "overview.places",
        "stations.show_found",
        "stations.show_now",
        # Files, data, ways to elsewhere.
        "devices.get_devices",
        "devices.get_template",
        "history.export",
        "operations.get_payload",
        "session.begin_oidc",
        "session.end_oidc",
        "site.show_photo",
        "health.health",
        "health.health_db",
        "metrics",
        "static",
        "__flask_sock.serve_live",
        "sensorthings.show_root",
        "sensorthings.show",
        "api.get_alerts",
        "api.get_one_alert",
        "api.get_devices",
        "api.get_device",
        "api.get_forecast",
        "api.get_readings",
        "api.get_openapi",
        "api.get_rescore_runs",
        "api.get_rescore_run",
    }
)
"""What answers a GET and is no page."""


def every_path() -> dict[str, str]:
    """The address of each page and state, by name."""
    return dict(PAGES.values()) | FURTHER


READY: Final[dict[str, str]] = {
    "overview": ".card",
    "station": "#chart canvas",
    "station-fault": "#chart canvas",
    "station-silent": "#chart canvas",
    "compare": "canvas",
    "worth": "canvas",
    "api-docs": ".opblock",
    "site": "#records",
    "operations": "#workers table",
}
"""By page what scripts put there when they are done."""


def settle(page: Page, name: str) -> None:
    """Wait until what scripts add has been added: fragments that are asked for when the page is there, too."""
    if name in READY:
        expect(page.locator(READY[name]).first).to_be_visible(timeout=15_000)
    if name.startswith("station"):
        expect(page.locator("#records")).to_be_attached(timeout=15_000)
