"""``/admin/tokens``: everybody's tokens, and those that the command line made."""

from datetime import UTC, datetime
from typing import cast

from flask import Response, abort, flash, redirect, render_template

from app.account.page import token_line
from app.addresses import LARGEST_ID, read_before
from app.admin.blueprint import blueprint
from app.connections import connections
from app.i18n import words
from app.session.identity import signed_in_user
from app.session.roles import actor, needs_role
from streamgauge.storage.api_tokens import list_tokens, revoke_token
from streamgauge.storage.audit import write_audit

TOKENS_SHOWN = 100


@blueprint.get("/admin/tokens")
@needs_role("admin")
def show_tokens() -> str:
    """Tokens, the newest first, by pages (``?before=`` the last id of the page before)."""
    before = read_before()
    me, now = signed_in_user(), datetime.now(UTC)
    assert me is not None
    with connections().engine.connect() as connection:
        found = list_tokens(connection, before=before, limit=TOKENS_SHOWN + 1)
    tokens = [token_line(token, me, now, words()) for token in found[:TOKENS_SHOWN]]
    has_more = len(found) > TOKENS_SHOWN
    return render_template(
        "admin/tokens.html", place="tokens", tokens=tokens, has_more=has_more, is_first=before == LARGEST_ID
    )


@blueprint.post("/admin/tokens/<int:token_id>/revoke")
@needs_role("admin")
def revoke_any(token_id: int) -> Response:
    """Revoke a token, whosever it is."""
    if token_id > LARGEST_ID:
        abort(404)
    with connections().engine.begin() as connection:
        revoked = revoke_token(connection, token_id)
        if revoked is None:
            abort(404)
        before = {"name": revoked.name, "scopes": revoked.scopes, "user": revoked.user_name}
        write_audit(connection, actor=actor(), action="token.revoke", subject=f"token {token_id}", before=before)
    flash(words()("account.tokens.revoked", name=revoked.name))
    return cast("Response", redirect("/admin/tokens", code=303))
