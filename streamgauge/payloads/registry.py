"""Which sensor models there are, and where each one's codec is found."""

import difflib
import importlib
from functools import cache
from pathlib import Path

from streamgauge.errors import PermanentError
from streamgauge.payloads import layout
from streamgauge.payloads.base import Codec

_MODULES = {
    model: f"streamgauge.payloads.{model}.codec"
    for model in (
        "decentlab_dl_mbx",
        "decentlab_dl_ctd10",
        "decentlab_dl_pr21",
        "decentlab_dl_pr26",
        "decentlab_dl_pr36",
        "decentlab_dl_lid",
        "decentlab_dl_rad",
        "milesight_em500_swl",
        "milesight_em500_udl",
        "milesight_em500_pp",
        "milesight_em310_udl",
        "milesight_em400_mud",
        "milesight_em400_udl",
        "dragino_ldds45",
        "dragino_llds12",
        "cayenne_lpp",
    )
}

_MAKER_PREFIXES = (("milesight_iot_", "milesight_"), ("generic_", ""))
"""How the device catalogue of The Things Network spells makers, and how models are spelled here."""


class UnknownModel(PermanentError):
    """No codec has this name.

    Args:
        model: the name that was asked for.
    """

    def __init__(self, model: str) -> None:
        known = (*_MODULES, *layout.shipped_layouts())
        near = difflib.get_close_matches(normalise(model), known, n=3, cutoff=0.5) or known
        super().__init__(f"no codec for the model {model!r}; is it one of {', '.join(near)}?")
        self.model = model


def models() -> tuple[str, ...]:
    """The names of all models that come with Streamgauge."""
    return tuple(_MODULES)


def normalise(model: str) -> str:
    """A model's name as the registry spells it: lower case, ``-``, ``/`` and blanks as ``_``, makers' names shortened."""
    name = model.strip().lower().replace("-", "_").replace("/", "_").replace(" ", "_")
    for prefix, ours in _MAKER_PREFIXES:
        if name.startswith(prefix):
            return ours + name.removeprefix(prefix)
    return name


def find(model: str) -> Codec:
    """The codec of a model, or of a layout that comes with Streamgauge; imported when it is first asked for.

    Args:
        model: in any spelling that ``normalise`` understands, such as ``milesight-iot/em500-swl``; the maker may be left out
            (``DL-MBX``), and so may the separators (``em500swl``).

    Raises:
        UnknownModel: there is none; the message names near ones.
    """
    name = normalise(model)
    if name in _MODULES:
        return _imported(name)
    if name in layout.shipped_layouts():
        return _shipped(name)
    return _imported(_by_short_name(model))


def load_layout(path: Path) -> Codec:
    """A codec from a TOML layout of bytes; see ``streamgauge.payloads.layout``."""
    return layout.load_layout(path)


def _by_short_name(model: str) -> str:
    sought = _squeezed(normalise(model))
    found = [name for name in _MODULES if sought in {_squeezed(name), _squeezed(name.partition("_")[2])}]
    if len(found) != 1:
        raise UnknownModel(model)
    return found[0]


def _squeezed(name: str) -> str:
    return name.replace("_", "")


@cache
def _shipped(name: str) -> Codec:
    return layout.load_layout(layout.shipped_layouts()[name])


@cache
def _imported(name: str) -> Codec:
    codec: Codec = importlib.import_module(_MODULES[name]).CODEC
    return codec
