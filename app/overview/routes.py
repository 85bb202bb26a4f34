"""``/``: every station's card, the fragments that keep it live, its pages, and where the stations are."""

from datetime import UTC, datetime
from typing import cast

import orjson
from flask import Blueprint, Flask, Response, current_app, render_template, request

from app.connections import connections
from app.i18n import words
from app.overview.board import Board, Snapshot
from app.overview.entries import QUALITIES
from app.overview.listing import PAGE_CARDS, SORTS, VIEWS, Choice, Listing, Listings, read_choice
from app.overview.places import make_places, tiles_origin
from app.overview.presenter import Card, make_cards
from app.security import allow_sources
from app.session.roles import needs_role
from app.verdict import STATES_IN_USE
from streamgauge.reading import format_time

MAX_FRAGMENT_CARDS = 4 * PAGE_CARDS
MAX_FRAGMENT_PAGES = 20
_EXTENSION, _LISTINGS = "streamgauge_board", "streamgauge_listings"

blueprint = Blueprint("overview", __name__)


def board_of(app: Flask) -> Board:
    """The board of an application."""
    return cast("Board", app.extensions[_EXTENSION])


def warm_up(app: Flask) -> None:
    """Read the board before anybody asks; for a server that has just started. No error if it cannot be read now."""
    if _EXTENSION in app.extensions:
        board_of(app).keep_warm()


@blueprint.record
def _make_board(state: object) -> None:
    app = cast("Flask", state.app)  # type: ignore[attr-defined]
    with app.app_context():
        app.extensions[_EXTENSION] = Board(connections())
    app.extensions[_LISTINGS] = Listings()


def _listing(snapshot: Snapshot, choice: Choice, now: datetime) -> Listing:
    return cast("Listings", current_app.extensions[_LISTINGS]).choose(snapshot, choice, now.timestamp())


@blueprint.get("/")
@needs_role("viewer")
def show() -> str:
    """The stations that the address asks for; to HTMX the part of the page that it names."""
    choice, now = read_choice(request.args), datetime.now(UTC)
    snapshot = board_of(current_app).current()
    listing = _listing(snapshot, choice, now)
    settings = connections().settings
    if settings.map_tiles:
        allow_sources("img-src", tiles_origin(settings.map_tiles))
    return render_template(
        _template(),
        choice=choice,
        listing=listing,
        page=min(choice.page, listing.pages),
        cards=_cards(listing, min(choice.page, listing.pages), now),
        registered=len(snapshot.entries),
        rivers=snapshot.rivers,
        live_id=snapshot.position,
        sample_time=format_time(now.replace(microsecond=0)),
        settings=settings,
        **_CHOICES,
    )


_CHOICES = {"states": STATES_IN_USE, "sorts": SORTS, "views": VIEWS, "qualities": QUALITIES}


def _template() -> str:
    if "HX-Request" not in request.headers:
        return "overview/index.html"
    return "overview/_found.html" if request.headers.get("HX-Target") == "results" else "overview/_board.html"


def _cards(listing: Listing, page: int, now: datetime) -> list[Card]:
    entries = listing.page(page)
    return make_cards(entries, board_of(current_app).sparklines(entries), now, words())


@blueprint.get("/overview/page")
@needs_role("viewer")
def page() -> str:
    """One page of cards, with what leads to the next one."""
    choice, now = read_choice(request.args), datetime.now(UTC)
    listing = _listing(board_of(current_app).current(), choice, now)
    return render_template(
        "overview/_page.html",
        choice=choice,
        listing=listing,
        page=choice.page,
        cards=_cards(listing, choice.page, now),
        is_alone="alone" in request.args,
    )


@blueprint.get("/overview/cards")
@needs_role("viewer")
def cards() -> str:
    """The cards of the stations that are named (``?device=``), each to be put in its place, with the totals and the order."""
    choice, now = read_choice(request.args), datetime.now(UTC)
    snapshot = board_of(current_app).current()
    names = dict.fromkeys(request.args.getlist("device")[:MAX_FRAGMENT_CARDS])
    changed = [snapshot.entries[name] for name in names if name in snapshot.entries]
    listing = _listing(snapshot, choice, now)
    return render_template(
        "overview/_changes.html",
        choice=choice,
        listing=listing,
        cards=make_cards(changed, board_of(current_app).sparklines(changed), now, words()),
        tokens={number: listing.token(number) for number in _pages(listing)},
        registered=len(snapshot.entries),
        **_CHOICES,
    )


def _pages(listing: Listing) -> list[int]:
    asked = [text for text in request.args.getlist("shown") if text.isascii() and text.isdecimal() and len(text) <= 6]
    return sorted({number for text in asked[:MAX_FRAGMENT_PAGES] if 0 < (number := int(text)) <= listing.pages})


@blueprint.get("/overview/map")
@needs_role("viewer")
def places() -> Response:
    """Where the stations are that the address asks for; with ``?device=`` only those that are named."""
    choice, now = read_choice(request.args), datetime.now(UTC)
    listing = _listing(board_of(current_app).current(), choice, now)
    names = set(request.args.getlist("device")[:MAX_FRAGMENT_CARDS])
    entries = [entry for entry in listing.entries if not names or entry.station.name in names]
    return Response(orjson.dumps(make_places(entries, now, words())), content_type="application/json")
