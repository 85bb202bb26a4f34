"""Which stations are asked for, and in which order: the page's address, and what it gives."""

import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from app.overview.board import Snapshot
from app.overview.entries import QUALITIES, Entry, fold
from app.verdict import STATES_IN_USE, State

PAGE_CARDS = 60
"""A page is full rows of two to six cards."""
SORTS = ("state", "near", "rate", "age", "name")
VIEWS = ("cards", "list", "wall", "map")
MAX_LISTINGS = 32
OVER = 1e6
"""Metres; no station is so far below a stage."""
MAX_WORDS = 100
"""Longest text that is searched for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an address asks for. What it holds besides, or what is no such choice, is as if it were not there."""

    state: State | None = None
    river: str = ""
    quality: str = ""
    words: str = ""
    sort: str = SORTS[0]
    view: str = VIEWS[0]
    page: int = 1

    @property
    def is_narrowed(self) -> bool:
        """Whether stations are left out for something else than their state."""
        return bool(self.river or self.quality or self.words)

    def query(self, **changes: Any) -> str:
        """The address's query of this choice with some changes, the page among them: without one it is the first."""
        choice = replace(self, **{"page": 1, **changes})
        parts = {
            "state": choice.state or "",
            "q": choice.words,
            "river": choice.river,
            "quality": choice.quality,
            "sort": "" if choice.sort == SORTS[0] else choice.sort,
            "view": "" if choice.view == VIEWS[0] else choice.view,
            "page": "" if choice.page == 1 else choice.page,
        }
        return urlencode({name: str(value) for name, value in parts.items() if value})

    def address(self, **changes: Any) -> str:
        """The address of the overview with some changes."""
        query = self.query(**changes)
        return f"/?{query}" if query else "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The stations of a choice.

    Attributes:
        counts: how many are in each state, whichever state was chosen; every state is named.
        total: how many those are together.
        placed: how many of the shown have a position.
        entries: those of the chosen state, in order.
    """

    counts: Mapping[State, int]
    total: int
    placed: int
    entries: Sequence[Entry]

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, math.ceil(len(self.entries) / PAGE_CARDS))

    def page(self, number: int) -> Sequence[Entry]:
        """The stations of one page, counted from 1."""
        return self.entries[(number - 1) * PAGE_CARDS : number * PAGE_CARDS]

    def token(self, number: int) -> str:
        """A mark that changes when other stations, or the same in another order, are on a page, or where it ends."""
        names = " ".join(entry.station.name for entry in self.page(number))
        return f"{zlib.crc32(f'{names} {number < self.pages}'.encode()):08x}"


def read_choice(arguments: Mapping[str, str]) -> Choice:
    """What an address's parameters ask for."""
    state, quality = arguments.get("state", ""), arguments.get("quality", "")
    sort, view, page = arguments.get("sort", ""), arguments.get("view", ""), arguments.get("page", "")
    return Choice(
        state=State(state) if state in STATES_IN_USE else None,
        river=arguments.get("river", "")[:MAX_WORDS],
        quality=quality if quality in QUALITIES else "",
        words=" ".join(arguments.get("q", "")[:MAX_WORDS].split()),
        sort=sort if sort in SORTS else SORTS[0],
        view=view if view in VIEWS else VIEWS[0],
        page=int(page) if page.isascii() and page.isdecimal() and len(page) <= 6 and int(page) > 0 else 1,
    )


class Listings:
    """The listings of the current second, so that many who look at the same cost hardly more than one."""

    def __init__(self) -> None:
        self._of: tuple[Snapshot | None, int] = (None, 0)
        self._found: dict[Choice, Listing] = {}

    def choose(self, snapshot: Snapshot, choice: Choice, now_s: float) -> Listing:
        """As ``choose`` says; states are as old as a second."""
        found, key = self._found, replace(choice, page=1, view=VIEWS[0])
        if self._of[0] is not snapshot or self._of[1] != int(now_s) or len(found) >= MAX_LISTINGS:
            found = self._found = {}
            self._of = (snapshot, int(now_s))
        listing = found.get(key)
        if listing is None:
            listing = found[key] = choose(snapshot, choice, now_s)
        return listing


def choose(snapshot: Snapshot, choice: Choice, now_s: float) -> Listing:
    """The stations that a choice asks for, as they are at a time (seconds since 1970)."""
    counts = dict.fromkeys(STATES_IN_USE, 0)
    key = _ORDERS[choice.sort]
    # Tuples that end in the entry's number sort without a call per comparison.
    shown: list[tuple[float, str, int, Entry]] = []
    for place, entry in enumerate(_matching(snapshot.entries.values(), choice)):
        state = entry.state_at(now_s)
        counts[state] += 1
        if choice.state is None or choice.state is state:
            shown.append((key(entry, now_s), entry.folded_title, place, entry))
    shown.sort()
    entries = [item[-1] for item in shown]
    return Listing(
        counts=counts,
        total=sum(counts.values()),
        placed=sum(1 for entry in entries if is_placed(entry)),
        entries=entries,
    )


def is_placed(entry: Entry) -> bool:
    """Whether a station has a position."""
    return entry.station.latitude is not None and entry.station.longitude is not None


def _matching(entries: Iterable[Entry], choice: Choice) -> Iterable[Entry]:
    words = fold(choice.words).split()
    if not choice.is_narrowed:
        yield from entries
        return
    for entry in entries:
        if choice.river and entry.station.river != choice.river:
            continue
        if choice.quality and entry.quality != choice.quality:
            continue
        if all(word in entry.searched for word in words):
            yield entry


def _margin(entry: Entry) -> float:
    # Over a stage comes before near one: the distance to the next one says nothing of where one already is.
    return entry.margin_m if entry.stage is None else -OVER * entry.stage.severity


def _fall(entry: Entry, now_s: float) -> float:
    rate = entry.station.rate_m_per_h
    return math.inf if rate is None or entry.state_at(now_s) is State.SILENT else -rate


_ORDERS: Mapping[str, Callable[[Entry, float], float | int]] = {
    "state": lambda entry, now_s: entry.urgency_at(now_s),
    "near": lambda entry, _: _margin(entry),
    "rate": _fall,
    "age": lambda entry, _: entry.silent_from_s - entry.station.silence_limit_s,
    "name": lambda _, __: 0,
}
