"""``python3 app/basemap.py``: the coastlines that the map shows where no tiles are set, out of the npm package ``world-atlas``.

Natural Earth's land at 1:50 million (public domain), without borders, thinned and rounded until it is small: so that positions
show without any network. The file holds ``scale`` (steps per degree), ``arcs`` (each a first point and then steps, as longitude,
latitude, longitude, …) and ``rings`` of arcs by number; ``~n`` is arc n backwards, as in TopoJSON.
"""

import itertools
import json
import math
from pathlib import Path
from typing import Any

APP = Path(__file__).parent
SOURCE = APP.parent / "node_modules" / "world-atlas" / "land-50m.json"
TARGET = APP / "static" / "vendor" / "world-atlas" / "land.json"
SCALE = 100
"""Steps per degree: about a kilometre."""
TOLERANCE_DEGREES = 0.08
"""A point that lies so near the line without it is left out."""
LEAST_RING_POINTS = 5

Point = tuple[float, float]


def main() -> None:
    """Write the file."""
    topology = json.loads(SOURCE.read_text(encoding="utf-8"))
    arcs = [_steps(thin(arc)) for arc in _arcs(topology)]
    content = {"scale": SCALE, "arcs": arcs, "rings": list(_rings(topology["objects"]["land"]))}
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


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
        steps += [after[0] - before[0], after[1] - before[1]]
    return steps


if __name__ == "__main__":
    main()
