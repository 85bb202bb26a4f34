"""Which model judges which station, as one worker process remembers it: the champions, asked of Postgres every few seconds."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge import metrics
from streamgauge.errors import ModelArtefactError
from streamgauge.scoring.model import Model
from streamgauge.storage.model_aliases import GENERAL, adopt_shipped, champions
from streamgauge.storage.models import ensure_model, facts_of_card, read_files

log = logging.getLogger("streamgauge.models")

REFRESH_S = 10.0
"""So long a promotion or a roll-back may go unnoticed by a worker."""
RETRY_S = 300.0
"""A champion that could not be loaded is tried again after so long, or at once when the alias moves."""
SITE_MODELS_MAX = 200
"""Most stations' own models that a process holds, the latest champions first; further stations go with the general one."""


@dataclass(frozen=True, slots=True)
class ModelInUse:
    """A model and the row of ``models`` that it is."""

    model: Model
    id: int


class ModelsInUse:
    """The general champion, and those of stations that have one of their own. One task at a time uses it.

    A champion that cannot be loaded changes nothing: the model that judged before goes on, the log and a metric say so.

    Args:
        shipped: the model that this process was started with. Its files go to the database, where roll-back finds them.
        monotonic_s: the clock of remembering.
    """

    def __init__(self, shipped: Model, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._shipped = shipped
        self._monotonic_s = monotonic_s
        self._shipped_id: int | None = None
        self._general: ModelInUse | None = None
        self._loaded: dict[int, ModelInUse] = {}
        self._retry_at_s: dict[int, float] = {}
        self._ask_at_s = 0.0
        self.by_device: Mapping[int, ModelInUse] = {}

    @property
    def general(self) -> ModelInUse:
        """The model of every station that has none of its own.

        Raises:
            RuntimeError: ``refresh`` was not called yet.
        """
        if self._general is None:
            raise RuntimeError("ModelsInUse.refresh must be called before a model is used")
        return self._general

    def refresh(self, connection: Connection) -> None:
        """Learn from the database what is in use; asked at most every ``REFRESH_S``.

        Args:
            connection: a connection in a transaction; if that is rolled back, call ``forget``.
        """
        now_s = self._monotonic_s()
        if self._general is not None and now_s < self._ask_at_s:
            return
        self._enter(connection)
        wanted = champions(connection, SITE_MODELS_MAX)
        self._general = self._load(connection, wanted.pop(GENERAL, None)) or self._general or self._shipped_in_use()
        own = {device: self._load(connection, model) or self.by_device.get(device) for device, model in wanted.items()}
        self.by_device = {device: used for device, used in own.items() if used is not None}
        self._loaded = {used.id: used for used in (self._general, *self.by_device.values())}
        self._ask_at_s = now_s + REFRESH_S
        metrics.MODELS_IN_USE.set(len(self._loaded))

    def forget(self) -> None:
        """What is remembered may be wrong: ask again. Models that are loaded stay so."""
        self._shipped_id = None
        self._ask_at_s = 0.0

    def of(self, device_id: int) -> ModelInUse:
        """The model of a station."""
        return self.by_device.get(device_id, self.general)

    def ids(self, station: NDArray[np.int64]) -> NDArray[np.int64]:
        """The model's id of each row, int64[m]."""
        ids = np.full(len(station), self.general.id, dtype=np.int64)
        for device_id, used in self.by_device.items():
            ids[station == device_id] = used.id
        return ids

    def _enter(self, connection: Connection) -> None:
        """Write the shipped model down, with its files, and give it its place; once per process."""
        if self._shipped_id is not None:
            return
        card = dict(self._shipped.card)
        self._shipped_id = ensure_model(
            connection, self._shipped.sha256, card, self._shipped.files(), facts_of_card(card)
        )
        if done := adopt_shipped(connection, self._shipped_id):
            log.warning("models changed", extra={"done": done, "model": self._shipped_id})

    def _shipped_in_use(self) -> ModelInUse:
        assert self._shipped_id is not None
        return ModelInUse(self._shipped, self._shipped_id)

    def _load(self, connection: Connection, model_id: int | None) -> ModelInUse | None:
        """The model; None if it cannot be loaded, or could not be a while ago."""
        if model_id is None or model_id == self._shipped_id:
            return None if model_id is None else self._shipped_in_use()
        if model_id in self._loaded:
            return self._loaded[model_id]
        if self._monotonic_s() < self._retry_at_s.get(model_id, 0.0):
            return None
        try:
            files = read_files(connection, model_id)
            if not files:
                raise ModelArtefactError(f"The files of model {model_id} are not in the database")
            used = ModelInUse(Model.from_files(files), model_id)
        except ModelArtefactError as error:
            metrics.MODEL_LOAD_FAILURES.inc()
            self._retry_at_s[model_id] = self._monotonic_s() + RETRY_S
            shown = {"model": model_id, "error": str(error)}
            log.error("champion not usable, the last good model goes on", extra=shown)  # noqa: TRY400
            return None
        log.info("model loaded", extra={"model": model_id, "sha256": used.model.sha256})
        self._loaded[model_id] = used
        return used
