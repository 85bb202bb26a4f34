"""Operations: the path as it runs, queues, workers, dead letters."""

from flask import Blueprint

blueprint = Blueprint("operations", __name__)
