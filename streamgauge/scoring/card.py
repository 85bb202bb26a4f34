"""The model card to read, made from the card that programs read."""

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "validation": "trained site, after training ended, every 5 minutes",
    "validation_every_third_reading": "the same, every 15 minutes",
    "unseen_site": "a site the model never saw, every 5 minutes",
    "unseen_site_every_third_reading": "the same, every 15 minutes",
}


def model_card(card: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        card: the content of ``card.json``, with its metrics.

    Raises:
        KeyError: the card lacks a part.
    """
    return "\n".join(
        [
            "# Model card: the expected next level and the forecasts",
            "",
            "Made by a retraining on stored history." if _retrained(card) else "Made by `make train`; do not edit.",
            "",
            *_facts(card),
            "",
            "## The next reading",
            "",
            (
                "Mean absolute error of the next reading, against persistence (the last usable level again). *Moving*: the"
                " level changed by more than 20 mm in the hour before."
            ),
            "",
            "| judged on | rows | model, mm | persistence, mm | lower by | in the band | band, mm | marked |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            *_rows(card["metrics"]),
            "",
            "## Forecasts",
            "",
            (
                "Replayed as they would have been issued live; the station's calibration begins with the record (at the trained"
                " site with its training part). *Average*: the mean level of the hour before. *Shown*: the model, or"
                " persistence where that had lately been better."
            ),
            "",
            *forecast_table(card["metrics"]),
            "",
        ]
    )


def _facts(card: Mapping[str, Any]) -> list[str]:
    training, libraries = card["training"], card["libraries"]
    return [
        f"- **Model** `{card['sha256']}`, {_size(card) / 1000:,.0f} kB",
        (
            f"- **Expects** the next level of a station, with bounds of 5 % and 95 %, from {len(card['features'])} features"
            " of its earlier readings (`streamgauge/scoring/features.py`; version"
            f" `{card['features_sha256'][:12]}`)."
        ),
        (
            f"- **Forecasts** {', '.join(_ahead(seconds) for seconds in card['horizons_s'])} ahead, from"
            f" {len(card['forecast_features'])} features of the last 48 hours"
            f" (`streamgauge/scoring/forecast/window_features.py`; version `{card['forecast_features_sha256'][:12]}`): four"
            " medians per horizon and simple rules, mixed per station by how right they have been there; a band whose width"
            " is learnt per station (docs/forecast.md)."
        ),
        *_trained_on(card),
        (
            f"- **How** XGBoost {libraries['xgboost']} on {card['platform']}, quantile regression, {training['rounds']}"
            f" rounds of 3 trees of depth {training['depth']}, seed {training['seed']}; forecasts:"
            f" {training['forecast']['rounds']} rounds, seed {training['forecast']['seed']}; numpy {libraries['numpy']}."
        ),
        (
            f"- **Has seen** {_seen(card)}. Tides, pumped tanks and rivers are other water: there a station's own record"
            " decides whether the model or persistence is shown."
        ),
    ]


def _retrained(card: Mapping[str, Any]) -> bool:
    """Whether stations' stored readings trained it, beside the recorded data."""
    return len(card.get("records", ())) > 1


def _seen(card: Mapping[str, Any]) -> str:
    stations = len(card.get("records", ())) - 1
    return f"one small stream and {stations} station{'s'[: stations != 1]}" if _retrained(card) else "one small stream"


def _trained_on(card: Mapping[str, Any]) -> list[str]:
    """The data, a line per record: the recorded one first, then stations' stored readings."""
    training, (recorded, *stations) = card["training"], card.get("records") or [card["record"]]
    from_usgs = "; U.S. Geological Survey, public domain" if recorded["name"].startswith("usgs_") else ""
    return [
        (
            f"- **Trained on** `{recorded['name']}` ({_described(recorded)}{from_usgs}), readings before"
            f" {training['train_until']} that passed the quality checks (rules version {card['quality_rules']}), also seen at"
            " every second and third reading; for the forecasts also with noise, and three times as slow."
        ),
        *(
            f"- **And on** station `{station['name']}` ({_described(station)}), without what was flagged or marked as a fault"
            for station in stations
        ),
    ]


def _described(record: Mapping[str, Any]) -> str:
    return f"{record['rows']:,} rows, {record['first']} to {record['last']}, SHA-256 `{record['sha256'][:12]}`"


def forecast_table(metrics: Mapping[str, Any]) -> list[str]:
    """The forecasts' figures as lines of Markdown.

    Args:
        metrics: those of a card.
    """
    return [
        "| judged on | ahead | rows | model, mm | persistence, mm | average, mm | lower by | shown | in band | band, mm |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *_forecast_rows(metrics),
    ]


def _rows(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, found in metrics.items():
        for part in ("overall", "moving"):
            figures = found[part]
            if figures["rows"]:
                lines.append(f"| {_NAMES[key]}, {part} | {_cells(figures)} |")
    return lines


def _cells(figures: Mapping[str, Any]) -> str:
    lengths = (f"{figures[name] * 1000:.2f}" for name in ("model_mae_m", "persistence_mae_m"))
    skill = "–" if figures["skill"] is None else f"{figures['skill']:.1%}"
    rest = (skill, f"{figures['coverage']:.1%}", f"{figures['band_mean_m'] * 1000:.1f}", f"{figures['anomalous']:.2%}")
    return " | ".join((f"{figures['rows']:,}", *lengths, *rest))


def _size(card: Mapping[str, Any]) -> int:
    return sum(int(found["size_bytes"]) for found in card["files"].values())


def _ahead(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds < _HOUR_S else f"{seconds // _HOUR_S} h"


_HOUR_S = 3600


def _forecast_rows(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, found in metrics.items():
        for horizon in found["forecast"]["horizons"]:
            for part in ("overall", "moving"):
                figures = horizon[part]
                if figures["rows"]:
                    lines.append(
                        f"| {_NAMES[key]}, {part} | {_ahead(horizon['horizon_s'])} | {_forecast_cells(figures)} |"
                    )
    return lines


def _forecast_cells(figures: Mapping[str, Any]) -> str:
    names = ("model_mae_m", "persistence_mae_m", "moving_average_mae_m")
    lengths = (f"{figures[name] * 1000:.2f}" for name in names)
    skills = ("–" if figures[name] is None else f"{figures[name]:.1%}" for name in ("skill", "shown_skill"))
    rest = (f"{figures['coverage']:.1%}", f"{figures['band_mean_m'] * 1000:.1f}")
    return " | ".join((f"{figures['rows']:,}", *lengths, *skills, *rest))
