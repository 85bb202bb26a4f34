"""Schema migrations (Alembic). They go forward only in production: expand first, contract a release later."""
