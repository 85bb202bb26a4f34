"""Signing in by an OpenID provider (OpenID Connect Core 1.0): code flow with PKCE, state and nonce, by Authlib.

A person is known by issuer and subject, never by name or e-mail address: those can be anybody's at another time. The role comes
from a claim, anew at every sign-in; whom it gives none any more loses sessions and tokens. It takes the role of an administrator
from nobody who is the last one. If the provider does not answer, passwords go on working.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, cast

from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.integrations.flask_client import FlaskOAuth2App, OAuth  # type: ignore[import-untyped]
from flask import Flask, Response, current_app, session, url_for
from joserfc.errors import JoseError
from requests import RequestException
from sqlalchemy import Connection

from app.connections import connections
from streamgauge.settings import WebSettings
from streamgauge.storage.api_tokens import revoke_tokens
from streamgauge.storage.audit import write_audit
from streamgauge.storage.sessions import end_sessions, rotate_soon
from streamgauge.storage.users import (
    NO_PASSWORD,
    ROLES,
    User,
    add_user,
    find_oidc_user,
    is_last_admin,
    lock_user,
    set_email,
    set_role,
)

log = logging.getLogger(__name__)
TIMEOUT_S = 8
SCOPES = "openid profile email"
ACTOR = "OpenID"
"""Who changed a role, in the audit log, when it was the provider's claim that did."""
MAX_NAME_LENGTH = 60
MAX_SUBJECT_LENGTH = 255
MOST_NAMESAKES = 100
_EXTENSION = "streamgauge_oidc"
_NEXT = "oidc_next"
_NO_NAME = re.compile(r"[\x00-\x1f\x7f]+")


class OidcRefused(Exception):
    """Nobody was signed in.

    Attributes:
        reason: ``away`` (the provider does not answer as it should), ``failed`` (it said no, or this is not the browser that
            began), ``no_role`` (nothing there lets this person in), ``disabled`` (an admin keeps this person out), ``off``.
        detail: for the log.
        status: of the answer.
    """

    def __init__(self, reason: str, detail: str, status: int) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.status = reason, detail, status


def init_app(app: Flask) -> None:
    """Know the provider of the settings; it is not asked before somebody wants to sign in by it."""
    with app.app_context():
        settings = connections().settings
    if settings.oidc_issuer is None:
        return
    oauth = OAuth(app)
    oauth.register(
        "oidc",
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        server_metadata_url=f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": SCOPES, "code_challenge_method": "S256", "default_timeout": TIMEOUT_S},
    )
    app.extensions[_EXTENSION] = oauth


def button() -> str | None:
    """What the sign-in page's button calls the provider; None without one."""
    return connections().settings.oidc_name if _EXTENSION in current_app.extensions else None


def begin(target: str) -> Response:
    """Send the browser to the provider.

    Raises:
        OidcRefused: there is no provider, or it does not answer.
    """
    client, settings = _client(), connections().settings
    callback = url_for("session.end_oidc", _external=True)
    if settings.public_url is not None:
        callback = settings.public_url.rstrip("/") + url_for("session.end_oidc")
    try:
        _know(client, settings)
        answer = client.authorize_redirect(callback)
    except (RequestException, AuthlibBaseError, JoseError, RuntimeError, ValueError, KeyError) as error:
        raise OidcRefused("away", repr(error), 503) from error
    session[_NEXT] = target
    return cast("Response", answer)


def finish() -> tuple[User, str]:
    """The user whom the provider vouches for, and where that person wanted to go.

    Raises:
        OidcRefused: nobody is to be signed in.
    """
    client, settings = _client(), connections().settings
    target = str(session.pop(_NEXT, "/"))
    try:
        _know(client, settings)
        claims = _claims(client, settings)
    except RequestException as error:
        raise OidcRefused("away", repr(error), 503) from error
    except (AuthlibBaseError, JoseError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise OidcRefused("failed", repr(error), 401) from error
    subject, role = str(claims.get("sub", "")), role_of(claims, settings)
    if not subject or len(subject) > MAX_SUBJECT_LENGTH or "\0" in subject:
        raise OidcRefused("failed", "no usable subject", 401)
    return _known_user(str(settings.oidc_issuer), subject, role, claims), target


def role_of(claims: Mapping[str, Any], settings: WebSettings) -> str | None:
    """The highest role that the claim gives; None if it gives none."""
    values = _values(claims, settings.oidc_role_claim)
    if settings.oidc_admin_value in values:
        return "admin"
    if settings.oidc_operator_value in values:
        return "operator"
    is_let_in = settings.oidc_viewer_value is None or settings.oidc_viewer_value in values
    return "viewer" if is_let_in else None


def _values(claims: Mapping[str, Any], name: str) -> set[str]:
    """The claim's values; a name with dots is looked up step by step, as in Keycloak's ``realm_access.roles``."""
    found: Any = claims.get(name)
    if found is None and "." in name:
        found = claims
        for step in name.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return {found}
    return {str(value) for value in found} if isinstance(found, list | tuple) else set()


def _client() -> FlaskOAuth2App:
    oauth = current_app.extensions.get(_EXTENSION)
    if oauth is None:
        raise OidcRefused("off", "no OpenID provider is set", 404)
    return cast("FlaskOAuth2App", oauth.oidc)


def _know(client: FlaskOAuth2App, settings: WebSettings) -> None:
    """Ask the provider for its metadata, once, and hold it against the settings."""
    metadata = client.load_server_metadata()
    if str(metadata.get("issuer", "")).rstrip("/") != str(settings.oidc_issuer).rstrip("/"):
        stated = metadata.pop("issuer", None)
        metadata.pop("_loaded_at", None)
        raise ValueError(f"the provider calls itself {stated!r}, the setting OIDC_ISSUER says {settings.oidc_issuer!r}")
    # Only signatures that the provider's public keys verify: never "none", and no shared secret.
    offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
    metadata["id_token_signing_alg_values_supported"] = [
        algorithm for algorithm in offered if algorithm[:2] in {"RS", "PS", "ES", "Ed"}
    ]


def _claims(client: FlaskOAuth2App, settings: WebSettings) -> dict[str, Any]:
    """What the provider says of the person: the ID token's claims, and the user info's where the role is not among them."""
    token = client.authorize_access_token()
    if not token.get("userinfo"):
        raise ValueError("the provider sent no ID token")
    claims = dict(token["userinfo"])
    if not _values(claims, settings.oidc_role_claim) and client.server_metadata.get("userinfo_endpoint"):
        further = dict(client.userinfo(token=token))
        if further.get("sub") != claims.get("sub"):
            raise ValueError("ID token and user info are of different people")
        claims = further | claims
    return claims


def _known_user(issuer: str, subject: str, role: str | None, claims: Mapping[str, Any]) -> User:
    """The user's row, made or brought up to date.

    Raises:
        OidcRefused: no role, or disabled.
    """
    email = _text(claims.get("email")) or None
    with connections().engine.begin() as connection:
        user = find_oidc_user(connection, issuer, subject)
        if role is None:
            if user is not None:
                _keep_out(connection, user)
        elif user is None:
            user = _add(connection, issuer, subject, role, email, _stated_name(claims, subject))
        else:
            _bring_up_to_date(connection, user, role, email)
            user = find_oidc_user(connection, issuer, subject)
    if role is None:
        raise OidcRefused("no_role", f"subject {subject}", 403)
    if user is None or user.disabled_at is not None:
        raise OidcRefused("disabled", f"subject {subject}", 403)
    return user


def _keep_out(connection: Connection, user: User) -> None:
    """End what a user has that the provider gives no role any more: sessions, tokens, the role.

    The account is not disabled, which is an admin's word: it opens again with the next role that the provider gives.
    """
    role = ROLES[0] if _may_change(connection, user, ROLES[0]) else user.role
    if role != user.role:
        set_role(connection, user.id, role)
    sessions, tokens = end_sessions(connection, user.id), revoke_tokens(connection, user.id)
    if sessions or tokens or role != user.role:
        _audit(connection, user, "user.no_access", {"role": role, "sessions": len(sessions), "tokens_revoked": tokens})


def _bring_up_to_date(connection: Connection, user: User, role: str, email: str | None) -> None:
    if role != user.role:
        if _may_change(connection, user, role):
            set_role(connection, user.id, role)
            rotate_soon(connection, user.id)
            _audit(connection, user, "user.role", {"role": role})
        else:
            _audit(connection, user, "user.role_kept", {"role": user.role, "claimed": role})
    # Last, as the lock over all users must not be waited for with a row changed.
    if email != user.email:
        set_email(connection, user.id, email)


def _may_change(connection: Connection, user: User, role: str) -> bool:
    """Whether a user may get another role: not if nobody could administer then."""
    if role == "admin" or user.role != "admin":
        return True
    locked = lock_user(connection, user.id)
    if locked is None or not is_last_admin(connection, locked):
        return True
    log.warning("the last administrator keeps the role that the OpenID provider takes", extra={"user": user.name})
    return False


def _audit(connection: Connection, user: User, action: str, after: Mapping[str, Any]) -> None:
    before = {"role": user.role}
    write_audit(connection, actor=ACTOR, action=action, subject=f"user {user.name}", before=before, after=after)


def _add(connection: Connection, issuer: str, subject: str, role: str, email: str | None, name: str) -> User | None:
    """A new user under the stated name, or with a number behind it if somebody has it already."""
    for number in range(1, MOST_NAMESAKES):
        free = name if number == 1 else f"{name}-{number}"
        if add_user(connection, free, NO_PASSWORD, role, email=email, oidc_issuer=issuer, oidc_subject=subject):
            after = {"role": role, "email": email, "issuer": issuer}
            write_audit(connection, actor=ACTOR, action="user.create", subject=f"user {free}", after=after)
            break
        if find_oidc_user(connection, issuer, subject) is not None:
            break  # Made by another request meanwhile.
    return find_oidc_user(connection, issuer, subject)


def _stated_name(claims: Mapping[str, Any], subject: str) -> str:
    for claim in ("preferred_username", "email", "name"):
        if name := _text(claims.get(claim)):
            return name
    return _text(subject)


def _text(value: object) -> str:
    return _NO_NAME.sub(" ", value).strip()[:MAX_NAME_LENGTH] if isinstance(value, str) else ""
