"""What the account page shows: one's sessions and tokens, and a form for a new token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.account.agents import agent_name
from app.i18n import Words, words
from app.session import oidc
from app.session.identity import current_session_id
from streamgauge.storage.api_tokens import SCOPES_OF_ROLE, ListedToken, list_tokens
from streamgauge.storage.sessions import ListedSession, list_sessions
from streamgauge.storage.users import NO_PASSWORD, User

MOST_TOKENS = 100
"""Usable tokens of one user; whoever needs more has forgotten some."""
TOKENS_SHOWN = 200
MAX_TOKEN_NAME = 80
EXPIRY_DAYS = ("7", "30", "90", "365")
NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenForm:
    """A form for a token as somebody filled it in, with what is wrong, by field."""

    name: str = ""
    scopes: tuple[str, ...] = ("read",)
    days: str = "90"
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def expires_at(self) -> datetime | None:
        """From when on the token is not good any more; only for a form without faults."""
        return None if self.days == NEVER else datetime.now(UTC) + timedelta(days=int(self.days))


def allowed_expiries(user: User) -> tuple[str, ...]:
    """Which expiries a user may choose: only an admin makes tokens that last for ever."""
    return (*EXPIRY_DAYS, NEVER) if user.role == "admin" else EXPIRY_DAYS


def read_token_form(form: Any, user: User, usable: int, t: Words) -> TokenForm:
    """The form that was sent, with its faults."""
    name = str(form.get("name", "")).strip()
    scopes = tuple(dict.fromkeys(form.getlist("scope")))
    days = str(form.get("days", ""))
    faults: dict[str, str] = {}
    if not name or len(name) > MAX_TOKEN_NAME or not name.isprintable():
        faults["name"] = t("account.tokens.error.name", n=MAX_TOKEN_NAME)
    elif usable >= MOST_TOKENS:
        faults["name"] = t("account.tokens.error.many", n=MOST_TOKENS)
    if not scopes:
        faults["scope"] = t("account.tokens.error.scope")
    elif set(scopes) - set(SCOPES_OF_ROLE.get(user.role, ())):
        faults["scope"] = t("account.tokens.error.scope_role")
    if days not in allowed_expiries(user):
        faults["days"] = t("account.tokens.error.days")
    return TokenForm(name=name[: 2 * MAX_TOKEN_NAME], scopes=scopes, days=days, faults=faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLine:
    """A session in the list."""

    id: int
    agent: str
    address: str
    since: str
    used: str
    until: str
    is_this: bool
    by_oidc: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLine:
    """A token in the list."""

    id: int
    name: str
    owner: str | None
    scopes: Sequence[str]
    made: str
    expires: str
    used: str
    state: str
    is_mine: bool


def session_line(session: ListedSession, now: datetime, t: Words) -> SessionLine:
    """A session in the reader's words."""
    return SessionLine(
        id=session.id,
        agent=agent_name(session.agent, t),
        address=session.address or "–",
        since=t.moment(session.created_at, UTC),
        used=t.age((now - session.last_seen_at).total_seconds()),
        until=t.moment(session.expires_at, UTC),
        is_this=session.id == current_session_id(),
        by_oidc=session.provider == "oidc",
    )


def token_line(token: ListedToken, user: User, now: datetime, t: Words) -> TokenLine:
    """A token in the reader's words."""
    return TokenLine(
        id=token.id,
        name=token.name,
        owner=token.user_name,
        scopes=token.scopes,
        made=t.moment(token.created_at, UTC),
        expires=t.moment(token.expires_at, UTC) if token.expires_at else t("account.tokens.never"),
        used=t.age((now - token.last_used_at).total_seconds()) if token.last_used_at else t("account.tokens.unused"),
        state=token.state(now),
        is_mine=token.user_id == user.id,
    )


def account_page(connection: Connection, user: User, form: TokenForm | None = None) -> dict[str, Any]:
    """What the template needs."""
    t, now = words(), datetime.now(UTC)
    tokens = [token_line(token, user, now, t) for token in list_tokens(connection, user_id=user.id, limit=TOKENS_SHOWN)]
    return {
        "account": user,
        "has_password": user.password_hash != NO_PASSWORD,
        "oidc_name": oidc.button() or user.oidc_issuer,
        "sessions": [session_line(session, now, t) for session in list_sessions(connection, user.id)],
        "tokens": [token for token in tokens if token.state == "usable"],
        "old_tokens": [token for token in tokens if token.state != "usable"],
        "scopes": SCOPES_OF_ROLE.get(user.role, ()),
        "expiries": allowed_expiries(user),
        "token_form": form or TokenForm(),
    }
