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
    record, training, libraries = card["record"], card["training"], card["libraries"]
    return "\n".join(
        [
            "# Model card: the expected next level",
            "",
            "Made by `make train`; do not edit.",
            "",
            f"- **Model** `{card['sha256']}`, {card['size_bytes'] / 1000:,.0f} kB",
            (
                f"- **Expects** the next level of a station, with bounds of 5 % and 95 %, from {len(card['features'])} features"
                " of its earlier readings (`streamgauge/scoring/features.py`; version"
                f" `{card['features_sha256'][:12]}`)."
            ),
            (
                f"- **Trained on** `{record['name']}` ({record['rows']:,} rows, {record['first']} to {record['last']}, SHA-256"
                f" `{record['sha256'][:12]}`; U.S. Geological Survey, public domain), readings before"
                f" {training['train_until']} that passed the quality checks, also seen at every second and third reading."
            ),
            (
                f"- **How** XGBoost {libraries['xgboost']} on {card['platform']}, quantile regression, {training['rounds']}"
                f" rounds of 3 trees of depth {training['depth']}, seed {training['seed']}; numpy {libraries['numpy']}."
            ),
            (
                "- **Not for** forecasts beyond the next reading, tides, pumped tanks: it has seen one small stream. Its band is"
                " not calibrated per station."
            ),
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
        ]
    )


def _rows(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, found in metrics.items():
        if found is None:
            continue
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
