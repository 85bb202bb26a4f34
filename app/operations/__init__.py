"""Operations: the path as it runs, queues, workers, storage; dead letters and their replay."""

from app.operations import letters, routes
from app.operations.blueprint import blueprint

__all__ = ["blueprint", "letters", "routes"]
