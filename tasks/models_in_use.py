"""Which model judges which station, as one worker process remembers it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.scoring.model import Model
from streamgauge.storage.models import ensure_model


@dataclass(frozen=True, slots=True)
class ModelInUse:
    """A model and the row of ``models`` that it is."""

    model: Model
    id: int


class ModelsInUse:
    """The general model, and those of stations that have one of their own.

    Args:
        shipped: the model that this process was started with.
    """

    def __init__(self, shipped: Model) -> None:
        self._shipped = shipped
        self._general: ModelInUse | None = None
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
        """Learn from the database what is in use, if that is not known yet."""
        if self._general is None:
            self._general = ModelInUse(
                self._shipped, ensure_model(connection, self._shipped.sha256, dict(self._shipped.card))
            )

    def forget(self) -> None:
        """What is remembered may be wrong: ask again."""
        self._general = None
        self.by_device = {}

    def of(self, device_id: int) -> ModelInUse:
        """The model of a station."""
        return self.by_device.get(device_id, self.general)

    def ids(self, station: NDArray[np.int64]) -> NDArray[np.int64]:
        """The model's id of each row, int64[m]."""
        ids = np.full(len(station), self.general.id, dtype=np.int64)
        for device_id, used in self.by_device.items():
            ids[station == device_id] = used.id
        return ids
