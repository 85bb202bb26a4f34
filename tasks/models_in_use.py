"""Which model judges which station, as one worker process remembers it: the champions, asked of Postgres every few seconds."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from streamgauge import metrics
from streamgauge.errors import ModelArtefactError
from streamgauge.scoring.model import Model
from streamgauge.storage.model_aliases import CHAMPION, GENERAL, adopt_shipped, alias_of, champions
from streamgauge.storage.models import ensure_model, facts_of_card, read_files

log = logging.getLogger("streamgauge.models")

REFRESH_S = 10.0
"""So long a promotion or a roll-back may go unnoticed by a worker."""
RETRY_S = 300.0
"""A champion that could not be loaded is tried again after so long, or at once when the alias moves."""
SITE_MODELS_MAX = 200
"""Most stations with models of their own, the latest champions first; further stations go with the general one."""
SITE_MODELS_KEPT = 20
"""Stations' own models are loaded when one of their readings comes; a process keeps those that it used last between two tasks."""
OTHERS_KEPT = 3
"""Models that are champion no more, and whose readings are judged once more."""


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
        self._engine: Engine | None = None
        self._shipped_id: int | None = None
        self._adopted = False
        self._general: ModelInUse | None = None
        self._loaded: dict[int, ModelInUse] = {}
        self._others: OrderedDict[int, ModelInUse] = OrderedDict()
        self._retry_at_s: dict[int, float] = {}
        self._ask_at_s = 0.0
        self.site_ids: Mapping[int, int] = {}
        """Which model is the own champion of which station, loaded or not."""
        self.by_device: OrderedDict[int, ModelInUse] = OrderedDict()
        """Stations' own models that are loaded, the one used last at the end; ``of`` and ``ids`` load what is missing."""

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

        What it writes, it writes in a short transaction of its own, as everyone who moves a model waits for that one.

        Args:
            connection: a connection in a transaction that has written nothing of models.
        """
        now_s = self._monotonic_s()
        if self._general is None or now_s >= self._ask_at_s:
            self._engine = connection.engine
            self._enter(self._engine)
            wanted = champions(connection, SITE_MODELS_MAX)
            general = self._load(connection, wanted.pop(GENERAL, None))
            self._general = general or self._general or self._shipped_in_use()
            self.site_ids = wanted
            self._ask_at_s = now_s + REFRESH_S
        self._let_go()

    def forget(self) -> None:
        """What is remembered may be wrong: ask again. Models that are loaded stay so."""
        self._shipped_id = None
        self._ask_at_s = 0.0

    def of(self, device_id: int) -> ModelInUse:
        """The model of a station, loaded now if need be; the one that judged before where its own cannot be."""
        model_id = self.site_ids.get(device_id)
        if model_id is None:
            return self.general
        used = self._loaded.get(model_id) or self._fetch(model_id)
        if used is not None:
            self.by_device[device_id] = used
            self.by_device.move_to_end(device_id)
        return self.by_device.get(device_id, self.general)

    def ids(self, station: NDArray[np.int64]) -> NDArray[np.int64]:
        """The model's id of each row, int64[m]; those models are loaded then, and stay so until the next ``refresh``."""
        ids = np.full(len(station), self.general.id, dtype=np.int64)
        for device_id in self.site_ids.keys() & set(np.unique(station).tolist()) if self.site_ids else ():
            ids[station == device_id] = self.of(device_id).id
        return ids

    def with_id(self, model_id: int) -> ModelInUse | None:
        """Any stored model, such as one that was champion once; None if it cannot be loaded. The last few are kept."""
        used = self._loaded.get(model_id) or self._fetch(model_id)
        if used is not None:
            self._others[model_id] = used
            self._others.move_to_end(model_id)
        return used

    def _fetch(self, model_id: int) -> ModelInUse | None:
        assert self._engine is not None
        with self._engine.connect() as connection:
            return self._load(connection, model_id)

    def _let_go(self) -> None:
        """Keep the models of few stations in memory: those used last."""
        for device_id in self.by_device.keys() - self.site_ids.keys():
            del self.by_device[device_id]
        while len(self.by_device) > SITE_MODELS_KEPT:
            self.by_device.popitem(last=False)
        while len(self._others) > OTHERS_KEPT:
            self._others.popitem(last=False)
        self._loaded = {used.id: used for used in (self.general, *self.by_device.values(), *self._others.values())}
        metrics.MODELS_IN_USE.set(len(self._loaded))

    def _enter(self, engine: Engine) -> None:
        """Write the shipped model down, with its files, and give it its place; once per process.

        After ``forget`` it gets no place again unless there is no champion at all: two versions of the program that run side by
        side would otherwise take it from each other.
        """
        if self._shipped_id is not None:
            return
        card, done = dict(self._shipped.card), None
        with engine.begin() as connection:
            shipped_id = ensure_model(
                connection, self._shipped.sha256, card, self._shipped.files(), facts_of_card(card)
            )
            if not self._adopted or alias_of(connection, GENERAL, CHAMPION) is None:
                done = adopt_shipped(connection, shipped_id)
        self._shipped_id, self._adopted = shipped_id, True
        if done:
            log.warning("models changed", extra={"done": done, "model": shipped_id})

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
