"""Settings of the web and API processes."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from streamgauge.settings.common import CommonSettings, LimitSettings, StoreSettings
from streamgauge.settings.declare import flag, seconds, secret_key, setting, url, whole

_LIMIT = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")


def limits(text: str) -> str:
    """Rate limits: a number for each unit of time, separated by semicolons; empty for ``off``."""
    if text.strip().lower() in {"off", ""}:
        return ""
    parts = [part.strip() for part in text.split(";")]
    if not all(_LIMIT.fullmatch(part) for part in parts):
        raise ValueError("must be off, or like 600/minute;50/second")
    return ";".join(parts)


def origins(text: str) -> tuple[str, ...]:
    """Web origins, separated by commas."""
    found = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError("must be origins such as https://portal.example, separated by commas")
    return found


def tiles(text: str) -> str:
    """The address of map tiles."""
    parts = urlsplit(text)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.netloc
        or any(part not in text for part in ("{z}", "{x}", "{y}"))
    ):
        raise ValueError("must be like https://tiles.example/{z}/{x}/{y}.png")
    if any(character in text for character in " ;,'\""):
        raise ValueError("must hold no spaces, quotes, commas or semicolons")
    return text


@dataclass(frozen=True, kw_only=True)
class WebSettings(CommonSettings, StoreSettings, LimitSettings):
    """The web and API processes."""

    secret_key: str = setting(
        "SECRET_KEY",
        secret_key,
        "Signs sessions; at least 32 random characters, the same on every replica.",
        secret=True,
    )
    http_port: int = setting("HTTP_PORT", whole(1, 65_535), "Port of the web server.", default=8000)
    http_host: str = setting("HTTP_HOST", str, "Address that the web server is bound to.", default="127.0.0.1")
    task_max_readings: int = setting(
        "TASK_MAX_READINGS",
        whole(1, 5_000),
        "Most readings that share one Celery task; 1 gives strictly one task per reading.",
        default=500,
    )
    commit_timeout_s: float = setting(
        "COMMIT_TIMEOUT_S",
        seconds(0.1, 60),
        "How long `POST /readings` waits for the commit before it answers 503.",
        default=5.0,
    )
    queue_pause_length: int = setting(
        "SUBSCRIBER_QUEUE_PAUSE",
        whole(1, 1_000_000),
        "Tasks waiting in `readings` at which the subscriber stops taking messages.",
        default=200,
    )
    live_backlog_events: int = setting(
        "LIVE_BACKLOG_EVENTS",
        whole(8, 100_000),
        "Events kept for one slow browser before it is told to ask anew.",
        default=256,
    )
    cookie_secure: bool = setting("COOKIE_SECURE", flag, "Send the session cookie over HTTPS only.", default=True)
    trusted_proxies: int = setting(
        "TRUSTED_PROXIES", whole(0, 10), "How many proxies in front of us set X-Forwarded-*.", default=0
    )
    flower_url: str | None = setting(
        "FLOWER_URL", url("http", "https"), "Where operators reach Flower; linked from the pages.", default=None
    )
    public_url: str | None = setting(
        "PUBLIC_URL",
        url("http", "https"),
        "Where people reach these pages from outside; stands in links that leave them. Not set: what the browser asked for.",
        default=None,
    )
    session_idle_s: float = setting(
        "SESSION_IDLE_S", seconds(60, 31_536_000), "After so long without a request a session ends.", default=604_800.0
    )
    session_lifetime_s: float = setting(
        "SESSION_LIFETIME_S", seconds(60, 31_536_000), "After so long every session ends.", default=2_592_000.0
    )
    rate_limit: str = setting(
        "RATE_LIMIT",
        limits,
        "Most requests of one address or token, as `600/minute;50/second`; `off` for no limit.",
        default="1200/minute",
    )
    cors_origins: tuple[str, ...] = setting(
        "CORS_ORIGINS",
        origins,
        "Origins whose pages may call the JSON API with a token, separated by commas.",
        default=(),
    )
    oidc_issuer: str | None = setting(
        "OIDC_ISSUER",
        url("http", "https"),
        "OpenID provider to sign in with, by its issuer's address; not set: passwords only.",
        default=None,
    )
    oidc_client_id: str = setting("OIDC_CLIENT_ID", str, "Our name at the OpenID provider.", default="streamgauge")
    oidc_client_secret: str | None = setting(
        "OIDC_CLIENT_SECRET", str, "Our secret at the OpenID provider.", default=None, secret=True
    )
    oidc_name: str = setting("OIDC_NAME", str, "What the sign-in button calls the OpenID provider.", default="SSO")
    oidc_role_claim: str = setting(
        "OIDC_ROLE_CLAIM", str, "Claim that holds a person's groups or roles.", default="groups"
    )
    oidc_admin_value: str = setting(
        "OIDC_ADMIN_VALUE", str, "Value of that claim that makes an admin.", default="streamgauge-admin"
    )
    oidc_operator_value: str = setting(
        "OIDC_OPERATOR_VALUE", str, "Value of that claim that makes an operator.", default="streamgauge-operator"
    )
    oidc_viewer_value: str | None = setting(
        "OIDC_VIEWER_VALUE",
        str,
        "Value of that claim that makes a viewer; not set: whoever the provider lets in.",
        default=None,
    )
    map_tiles: str | None = setting(
        "MAP_TILES",
        tiles,
        "Map tiles: an https address with `{z}`, `{x}` and `{y}`. Not set: coastlines and a grid that need no network.",
        default=None,
    )
    map_attribution: str = setting(
        "MAP_ATTRIBUTION", str, "Whose map it is, as their licence wants it said.", default=""
    )
    live_max_clients: int = setting(
        "LIVE_MAX_CLIENTS", whole(1, 100_000), "Most browsers on `/live` of one process.", default=4_000
    )
    kibana_url: str | None = setting(
        "KIBANA_URL", url("http", "https"), "Where operators reach Kibana; linked from the pages.", default=None
    )
    grafana_url: str | None = setting(
        "GRAFANA_URL", url("http", "https"), "Where operators reach Grafana; linked from the pages.", default=None
    )
