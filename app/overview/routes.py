"""``/``: every station's card, and the fragments that keep it live."""

from datetime import UTC, datetime

from flask import Blueprint, render_template, request

from app.connections import connections
from app.i18n import words
from app.live.routes import current_live_id
from app.overview.presenter import count_states, make_cards
from app.session import login_required
from app.verdict import State, state_of
from streamgauge.reading import format_time
from streamgauge.storage.read_overview import read_sparklines, read_stations_now

MAX_FRAGMENT_CARDS = 100

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@login_required
def show() -> str:
    """All cards, or those of one state (``?state=``); to HTMX the part below the header only."""
    live_id = current_live_id()
    chosen = _chosen_state()
    now = datetime.now(UTC)
    with connections().engine.connect() as connection:
        stations = read_stations_now(connection)
        shown = [station for station in stations if chosen in (None, state_of(station, now))]
        lines = read_sparklines(connection, [station.device_id for station in shown])
    template = "overview/_board.html" if "HX-Request" in request.headers else "overview/index.html"
    return render_template(
        template,
        cards=make_cards(shown, lines, now, words()),
        counts=count_states(stations, now),
        total=len(stations),
        chosen=chosen,
        live_id=live_id,
        sample_time=format_time(now.replace(microsecond=0)),
        states=State,
    )


@blueprint.get("/overview/cards")
@login_required
def cards() -> str:
    """The cards of the stations that are named (``?device=``), each to be put in its place, with the totals."""
    names = request.args.getlist("device")[:MAX_FRAGMENT_CARDS]
    now = datetime.now(UTC)
    with connections().engine.connect() as connection:
        stations = read_stations_now(connection)
        changed = [station for station in stations if station.name in set(names)]
        lines = read_sparklines(connection, [station.device_id for station in changed])
    return render_template(
        "overview/_changes.html",
        cards=make_cards(changed, lines, now, words()),
        counts=count_states(stations, now),
        total=len(stations),
        chosen=_chosen_state(),
        states=State,
    )


def _chosen_state() -> State | None:
    text = request.args.get("state", "")
    return State(text) if text in {str(state) for state in State} else None
