"""Operations: the path as it runs, queues, workers, dead letters."""

from app.operations.routes import blueprint

__all__ = ["blueprint"]
