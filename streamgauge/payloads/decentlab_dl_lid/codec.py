"""Decentlab DL-LID: laser distance, as the statistics of some hundred samples."""

from collections.abc import Mapping

from streamgauge.payloads._decentlab import BATTERY_RANGE_V, BATTERY_STEP_V, DecentlabCodec, Measured, Words

_DISTANCES = (
    "distance_average_m",
    "distance_minimum_m",
    "distance_maximum_m",
    "distance_m",
    "distance_p10_m",
    "distance_p25_m",
    "distance_p75_m",
    "distance_p90_m",
    "distance_mode_m",
)
"""In the order of the frame; ``distance_m`` is the median."""

_IN_ORDER = ("distance_minimum_m", "distance_p10_m", "distance_p25_m", "distance_m", "distance_p75_m", "distance_p90_m",
             "distance_maximum_m")  # fmt: skip
_WITHIN = ("distance_average_m", "distance_mode_m")
_RANGE_M = (0.05, 40.0)
_TICKS_PER_MS = 1.024
_FILL_SAMPLES = 100
_FILL_TICKS = 409


def _read(words: Words, _parameters: Mapping[str, float]) -> Measured:
    samples, ticks = words[9], words[10]
    frame: dict[str, float | int | str | bool] = {
        "number_of_samples": samples,
        "total_acquisition_time_ms": ticks / _TICKS_PER_MS,
    }
    if samples == 0:
        return Measured({}, frame, ["not one sample: no distance"])
    values = {name: word / 1000.0 for name, word in zip(_DISTANCES, words, strict=False)}
    if not _is_coherent(values):
        return Measured({}, frame, ["minimum, percentiles and maximum are not in order: no distance"])
    return Measured(values, frame, [])


def _is_coherent(values: Mapping[str, float]) -> bool:
    ordered = [values[name] for name in _IN_ORDER]
    low, high = ordered[0], ordered[-1]
    return ordered == sorted(ordered) and all(low <= values[name] <= high for name in _WITHIN)


def _write(values: Mapping[str, float], _parameters: Mapping[str, float]) -> Words:
    given = {name: values[name] for name in _DISTANCES if name in values}
    filled = {name: given.get(name, values["distance_m"]) for name in _DISTANCES}
    # What is not given takes the nearest value that keeps the order.
    if "distance_minimum_m" not in given:
        filled["distance_minimum_m"] = min(filled.values())
    if "distance_maximum_m" not in given:
        filled["distance_maximum_m"] = max(filled.values())
    if not _is_coherent(filled):
        raise ValueError(f"must be in order: {', '.join(_IN_ORDER)}; {' and '.join(_WITHIN)} within")
    return (*(round(filled[name] * 1000.0) for name in _DISTANCES), _FILL_SAMPLES, _FILL_TICKS)


CODEC = DecentlabCodec(
    model="decentlab_dl_lid",
    measures="distance",
    words=11,
    water="distance_m",
    ranges={**dict.fromkeys(_DISTANCES, _RANGE_M), "battery_v": BATTERY_RANGE_V},
    resolutions={**dict.fromkeys(_DISTANCES, 0.001), "battery_v": BATTERY_STEP_V},
    read=_read,
    write=_write,
)
