"""The services of one worker process, made when they are first needed, never before the fork."""

from datetime import timedelta

from redis import Redis

from streamgauge.queue import SOCKET_TIMEOUT_S
from streamgauge.scoring.model import ARTEFACT, Model
from streamgauge.settings import WorkerSettings
from streamgauge.storage.engine import INDEX_LOOKUPS_ONLY, make_engine
from tasks.attribute import DeviceDirectory
from tasks.decode import Accepted
from tasks.pipeline import Services


class ServiceHolder:
    """Makes a process's services once."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self._services: Services | None = None

    def get(self) -> Services:
        """The services; the first call loads the model.

        Raises:
            ModelArtefactError: the model cannot be used.
        """
        if self._services is None:
            self._services = make_services(self.settings)
        return self._services


def make_services(settings: WorkerSettings) -> Services:
    """Build a worker's services from its settings; connections are made when they are used."""
    limit_ms = settings.task_soft_limit_s * 1000
    return Services(
        engine=make_engine(
            settings.database_url,
            pool_size=1,
            # Who first judges writes its model down, beside the transaction of the readings; a replay holds its lock beside both.
            max_overflow=2,
            application_name="streamgauge-worker",
            statement_timeout_ms=limit_ms,
            planner=INDEX_LOOKUPS_ONLY,
        ),
        redis=Redis.from_url(
            settings.redis_url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S
        ),
        model=Model.load(settings.model_dir or ARTEFACT),
        directory=DeviceDirectory(auto_register=settings.auto_register),
        live_max_events=settings.live_max_events,
        accepted=Accepted(settings.earliest_time, timedelta(seconds=settings.future_tolerance_s)),
    )
