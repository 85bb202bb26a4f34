"""``python3 app/basemap.py``: the coastlines that the map shows where no tiles are set, out of the npm package ``world-atlas``.

Natural Earth's land at 1:50 million (public domain), without borders, thinned and rounded until it is small: so that positions
show without any network. The file holds ``scale`` (steps per degree), ``arcs`` (each a first point and then steps, as longitude,
latitude, longitude, …) and ``rings`` of arcs by number; ``~n`` is arc n backwards, as in TopoJSON.

The package's rings go over the antimeridian and around the pole, as on a globe. Here they are cut there, so that on a flat map no
step goes over half of it.
"""

import itertools
import json
import math
from pathlib import Path
from typing import Any

APP = Path(__file__).parent
SOURCE = APP.parent / "node_modules" / "world-atlas" / "land-50m.json"
TARGET = APP / "static" / "vendor" / "world-atlas" / "land.json"
SCALE = 40
"""Steps per degree: less than three kilometres each."""
TOLERANCE_DEGREES = 0.1
"""A point that lies so near the line without it is left out."""
LEAST_RING_POINTS = 4

HALF_TURN, TURN = 180.0, 360.0
POLE = 90.0

Point = tuple[float, float]


def main() -> None:
    """Write the file."""
    content = flat_map(json.loads(SOURCE.read_text(encoding="utf-8")))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


def flat_map(topology: dict[str, Any]) -> dict[str, Any]:
    """What the file holds of a topology."""
    arcs, kept, rings = _arcs(topology), dict[int, int](), list[list[int]]()
    cut_rings = list[list[Point]]()
    for ring in _rings(topology["objects"]["land"]):
        points = _joined(arcs, ring)
        if any(abs(after[0] - before[0]) > HALF_TURN for before, after in itertools.pairwise(points)):
            cut_rings += cut(points)
            continue
        for arc in ring:
            kept.setdefault(arc if arc >= 0 else ~arc, len(kept))
        rings.append([kept[arc] if arc >= 0 else ~kept[~arc] for arc in ring])
    rings += [[len(kept) + place] for place in range(len(cut_rings))]
    lines = [thin(line) for line in (*(arcs[arc] for arc in kept), *cut_rings)]
    return {"scale": SCALE, "arcs": [_steps(line) for line in lines], "rings": rings}


def cut(ring: list[Point]) -> list[list[Point]]:
    """A closed ring that goes over the antimeridian, as closed rings on either side of it; one around a pole is closed there."""
    x = ring[0][0]
    unrolled = [ring[0]]
    for before, after in itertools.pairwise(ring):
        x += math.remainder(after[0] - before[0], TURN)
        unrolled.append((x, after[1]))
    if abs(unrolled[-1][0] - unrolled[0][0]) > HALF_TURN:
        pole = math.copysign(POLE, sum(y for _, y in ring))
        unrolled += [(unrolled[-1][0], pole), (unrolled[0][0], pole)]
    first, last = (math.floor((bound(x for x, _ in unrolled) + HALF_TURN) / TURN) for bound in (min, max))
    parts = []
    for turn in range(first, last + 1):
        west = turn * TURN - HALF_TURN
        inside = _east_of(_west_of(unrolled, west + TURN), west)
        part = [(x - turn * TURN, y) for x, y in inside]
        if len({x for x, _ in part}) > 1 and len({y for _, y in part}) > 1:
            parts.append([*part, part[0]])
    return parts


def _east_of(ring: list[Point], meridian: float) -> list[Point]:
    """What of a ring lies east of a meridian (Sutherland and Hodgman, 1974); its end is joined to its beginning."""
    found: list[Point] = []
    for before, after in zip([ring[-1], *ring], ring, strict=False):
        if (before[0] < meridian) != (after[0] < meridian):
            share = (meridian - before[0]) / (after[0] - before[0])
            found.append((meridian, before[1] + share * (after[1] - before[1])))
        if after[0] >= meridian:
            found.append(after)
    return found


def _west_of(ring: list[Point], meridian: float) -> list[Point]:
    return [(-x, y) for x, y in _east_of([(-x, y) for x, y in ring], -meridian)]


def _joined(arcs: list[list[Point]], ring: list[int]) -> list[Point]:
    """The points of a ring of arcs; the last one is the first."""
    points: list[Point] = []
    for arc in ring:
        line = arcs[arc] if arc >= 0 else arcs[~arc][::-1]
        points += line[1:] if points else line
    return points


def _arcs(topology: dict[str, Any]) -> list[list[Point]]:
    (scale_x, scale_y), (first_x, first_y) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for deltas in topology["arcs"]:
        x = y = 0
        arc = []
        for step_x, step_y in deltas:
            x, y = x + step_x, y + step_y
            arc.append((x * scale_x + first_x, y * scale_y + first_y))
        arcs.append(arc)
    return arcs


def _rings(shape: dict[str, Any]) -> list[list[int]]:
    if shape["type"] == "GeometryCollection":
        return [ring for part in shape["geometries"] for ring in _rings(part)]
    polygons = shape["arcs"] if shape["type"] == "MultiPolygon" else [shape["arcs"]]
    return [ring for polygon in polygons for ring in polygon]


def thin(arc: list[Point]) -> list[Point]:
    """An arc without the points that say little (Douglas and Peucker, 1973); a small island keeps all of its few."""
    kept, waiting = {0, len(arc) - 1}, [(0, len(arc) - 1)]
    while waiting:
        first, last = waiting.pop()
        far = max(range(first + 1, last), key=lambda place: _distance(arc[place], arc[first], arc[last]), default=None)
        if far is not None and _distance(arc[far], arc[first], arc[last]) > TOLERANCE_DEGREES:
            kept.add(far)
            waiting += [(first, far), (far, last)]
    is_lost = arc[0] == arc[-1] and len(kept) < LEAST_RING_POINTS
    return arc if is_lost else [arc[place] for place in sorted(kept)]


def _distance(point: Point, first: Point, last: Point) -> float:
    across_x, across_y = last[0] - first[0], last[1] - first[1]
    length = math.hypot(across_x, across_y)
    if length == 0:
        return math.dist(point, first)
    return abs(across_y * (point[0] - first[0]) - across_x * (point[1] - first[1])) / length


def _steps(arc: list[Point]) -> list[int]:
    places = [(round(x * SCALE), round(y * SCALE)) for x, y in arc]
    steps = [*places[0]]
    for before, after in itertools.pairwise(places):
        across, along = after[0] - before[0], after[1] - before[1]
        if abs(across) > HALF_TURN * SCALE:
            # Only the edge at the pole is as wide as the map.
            half = (across // 2, along // 2)
            steps += half
            across, along = across - half[0], along - half[1]
        steps += [across, along]
    return steps


if __name__ == "__main__":
    main()
