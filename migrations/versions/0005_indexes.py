"""Indexes that pages and replays need over tables that were there before, built while readings are stored.

Each is built concurrently, outside a transaction: it keeps nobody from reading or writing. A build that is interrupted leaves an
index that is not valid; the next run drops that and builds it again, and what is there already stays.

Revision: 0005
Follows: 0004
"""

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES = {
    "uq_users_oidc": "UNIQUE INDEX {} ON users (oidc_issuer, oidc_subject)",
    "ix_audit_log_at": "INDEX {} ON audit_log (at DESC)",
    "ix_audit_log_subject": "INDEX {} ON audit_log (subject, at DESC)",
    "ix_alerts_opened_at": "INDEX {} ON alerts (opened_at DESC, id DESC)",
    "ix_alerts_device_id": "INDEX {} ON alerts (device_id, opened_at DESC)",
    "ix_alerts_unresolved": "INDEX {} ON alerts (severity DESC, opened_at DESC) WHERE state <> 'resolved'",
    "ix_dead_letters_device": "INDEX {} ON dead_letters (device, id DESC)",
    "ix_dead_letters_waiting": "INDEX {} ON dead_letters (id) WHERE replay_state = 'waiting'",
    "ix_dead_letters_refused": "INDEX {} ON dead_letters (id) WHERE replay_state = 'refused'",
    "ix_dead_letters_replayed": "INDEX {} ON dead_letters (id) WHERE replay_state = 'replayed'",
    "ix_dead_letters_open": "INDEX {} ON dead_letters (reason, id DESC) WHERE replay_state IS DISTINCT FROM 'replayed'",
    "ix_dead_letters_replayed_at": "INDEX {} ON dead_letters (replayed_at, replay_state) WHERE replayed_at IS NOT NULL",
}
INVALID = text("SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        # A build waits for the transactions that are under way; nobody waits for it.
        limit = connection.execute(text("SHOW lock_timeout")).scalar_one()
        connection.execute(text("SET lock_timeout = 0"))
        for name, definition in INDEXES.items():
            if connection.execute(INVALID, {"name": name}).one_or_none() is not None:
                op.execute(f"DROP INDEX CONCURRENTLY {name}")
            op.execute(f"CREATE {definition.format(f'CONCURRENTLY IF NOT EXISTS {name}')}")
        connection.execute(text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": limit})


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
