"""Where and how a station stands, as lines of label and value."""

from collections.abc import Mapping

from app.i18n import Words
from app.measures import Measures
from streamgauge.storage.read_readings import Device
from streamgauge.storage.station import Site

LENGTHS = ("sensor_height_m", "offset_m")
"""Of an installation, those that are lengths; others are told by the device's own page."""


def site_facts(device: Device, site: Site, t: Words) -> list[tuple[str, str]]:
    """What is known of a station's place and sensor; what is not known is left out, apart from the position."""
    measures = Measures(t)
    facts = [(t("site.position"), _position(device, t))]
    if site.river:
        facts.append((t("site.river"), site.river))
    facts.append((t("site.datum"), device.datum or t("datum.unknown")))
    facts.append((t("site.time_zone"), device.time_zone))
    facts.append((t("site.silence"), t.duration(device.silence_limit_s)))
    if device.gross_min_m is not None and device.gross_max_m is not None:
        bounds = measures.level(device.gross_min_m), measures.level(device.gross_max_m)
        facts.append((t("site.gross"), t("site.between", low=bounds[0], high=bounds[1], unit=measures.level_unit)))
    if device.model:
        facts.append((t("site.model"), device.model))
    if device.dev_eui:
        facts.append((t("site.dev_eui"), device.dev_eui))
    return facts + _installation(site.installation or {}, measures, t)


def _installation(installation: Mapping[str, object], measures: Measures, t: Words) -> list[tuple[str, str]]:
    return [
        (t(f"site.{name}"), measures.length(float(value)))
        for name in LENGTHS
        if isinstance(value := installation.get(name), int | float) and not isinstance(value, bool)
    ]


def _position(device: Device, t: Words) -> str:
    if device.latitude is None or device.longitude is None:
        return t("site.no_position")
    return f"{t.number(device.latitude, 5)}, {t.number(device.longitude, 5)}"
