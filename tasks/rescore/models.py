"""The models that runs ask for, from the database's files; a process keeps the last few."""

from collections import OrderedDict
from collections.abc import Collection

from sqlalchemy import Connection, text

from streamgauge.errors import ModelArtefactError
from streamgauge.scoring.model import Model
from streamgauge.storage.models import read_files, usable_of

KEPT = 4


class RunModels:
    """Loads models by their id."""

    def __init__(self, shipped: Model) -> None:
        self._shipped = shipped
        self._loaded: OrderedDict[int, Model] = OrderedDict()

    def get(self, connection: Connection, model_id: int) -> Model:
        """The model.

        Raises:
            ModelArtefactError: the database does not keep it, or it does not fit this program.
        """
        if model_id not in self._loaded:
            self._loaded[model_id] = self._load(connection, model_id)
        self._loaded.move_to_end(model_id)
        while len(self._loaded) > KEPT:
            self._loaded.popitem(last=False)
        return self._loaded[model_id]

    def check(self, connection: Connection, model_ids: Collection[int]) -> None:
        """Make sure, by what is written down of these models, that a run can use them; none is loaded.

        Raises:
            ModelArtefactError: one has no files, or was made for another version of the program.
        """
        for model_id in sorted(set(model_ids) - usable_of(connection, model_ids)):
            self.get(connection, model_id)  # says what is wrong with it; the shipped model may be there without files

    def _load(self, connection: Connection, model_id: int) -> Model:
        sha256 = connection.execute(text("SELECT sha256 FROM models WHERE id = :id"), {"id": model_id}).scalar()
        if sha256 == self._shipped.sha256:
            return self._shipped
        files = read_files(connection, model_id)
        if not files:
            raise ModelArtefactError(f"The files of model {model_id} are not in the database: it cannot judge anything")
        return Model.from_files(files)
