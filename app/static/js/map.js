// The map of the stations: a marker says the state by shape and icon, a cluster the worst state in it and how many. Where no tiles
// are set, or none come, coastlines and a grid show where one is.
"use strict";

(() => {
  const { say, number } = window.streamgauge;
  const L = window.L;
  const LONGEST_GRID_LINES = 12;
  const GRID_STEPS = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01];
  const FIRST_ZOOM_MOST = 12;
  const OTHERS_PAUSE_MS = 5_000;
  const MOST_DEVICES = 200;
  const TILE_FAILURES = 4;
  let map = null;
  let box = null;
  let source = "";
  let kinds = [];
  let units = { factor: 1, unit: "" };
  let cluster = null;
  const markers = new Map();
  let lastMs = 0;
  let timer = null;
  let isWhole = false;
  const changed = new Set();

  const icon = (name) => `<svg class="icon" aria-hidden="true"><use href="#icon-${name}"></use></svg>`;
  const escape = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

  function markerIcon(kind, count) {
    const { key, icon: name } = kinds[kind];
    const size = count ? (count < 100 ? 44 : 52) : 32;
    const text = count ? `<span>${number(count, 0)}</span>` : "";
    return L.divIcon({ html: icon(name) + text, className: `pin pin-${key}${count ? " pin-many" : ""}`, iconSize: [size, count ? 32 : size] });
  }

  function clusterIcon(found) {
    const worst = Math.min(...found.getAllChildMarkers().map((marker) => marker.options.kind));
    const shown = markerIcon(worst, found.getChildCount());
    found.options.title = say("map.cluster", { n: number(found.getChildCount(), 0), state: kinds[worst].word });
    return shown;
  }

  const wordOf = (kind, stage) => (stage ? say("map.over", { stage }) : kinds[kind].word);
  const levelOf = (level) => (level === null ? "" : `${number(level * units.factor, 2)} ${units.unit}`);

  function popup([name, title, , , kind, stage, level]) {
    const key = kinds[kind].key;
    return `<a class="map-card" href="/stations/${encodeURIComponent(name)}"><b>${escape(title)}</b><span class="chip chip-${key === "silent-over" ? "silent" : key}">${icon(kinds[kind].icon)}${escape(wordOf(kind, stage))}</span><span class="map-level">${escape(levelOf(level))}</span></a>`;
  }

  function makeMarker(station) {
    const [, title, latitude, longitude, kind, stage, level] = station;
    const said = [title, wordOf(kind, stage), levelOf(level)].filter(Boolean);
    const marker = L.marker([latitude, longitude], {
      icon: markerIcon(kind),
      kind,
      station,
      title: said.join(" · "),
      alt: said.join(", "),
      riseOnHover: true,
      zIndexOffset: (kinds.length - kind) * 100,
    });
    return marker.bindPopup(() => popup(marker.options.station), { closeButton: false, minWidth: 200 });
  }

  function put(stations, isAll) {
    const fresh = [];
    const old = [];
    for (const station of stations) {
      const known = markers.get(station[0]);
      if (known && known.options.station.join("\n") === station.join("\n")) continue;
      if (known) old.push(known);
      const marker = makeMarker(station);
      markers.set(station[0], marker);
      fresh.push(marker);
    }
    if (isAll) {
      const names = new Set(stations.map((station) => station[0]));
      for (const [name, marker] of markers) {
        if (names.has(name)) continue;
        old.push(marker);
        markers.delete(name);
      }
    }
    if (old.length) cluster.removeLayers(old);
    if (fresh.length) cluster.addLayers(fresh);
  }

  function tell(content) {
    const unplaced = box.querySelector("#map-unplaced");
    unplaced.hidden = !content.unplaced_count;
    unplaced.querySelector("summary").textContent = say("map.unplaced", { n: number(content.unplaced_count, 0) });
    const items = content.unplaced.map(([name, title]) => {
      const link = document.createElement("a");
      link.href = `/stations/${encodeURIComponent(name)}`;
      link.textContent = title;
      const item = document.createElement("li");
      item.append(link);
      return item;
    });
    unplaced.querySelector("ul").replaceChildren(...items);
    box.querySelector("#map-note").textContent = content.stations.length || !content.unplaced_count ? "" : say("map.empty");
  }

  async function ask(devices) {
    const query = new URLSearchParams(source.split("?")[1]);
    for (const device of devices ?? []) query.append("device", device);
    const answer = await fetch(`/overview/map?${query}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  }

  // Decodes what app/basemap.py wrote.
  function landShape({ scale, arcs, rings }) {
    const lines = arcs.map((steps) => {
      let x = 0;
      let y = 0;
      const line = [];
      for (let place = 0; place < steps.length; place += 2) {
        x += steps[place];
        y += steps[place + 1];
        line.push([y / scale, x / scale]);
      }
      return line;
    });
    const arcOf = (place) => (place >= 0 ? lines[place] : lines[~place].toReversed());
    return rings.map((ring) => [ring.flatMap((place, index) => (index ? arcOf(place).slice(1) : arcOf(place)))]);
  }

  async function addLand() {
    if (map.hasLand) return;
    map.hasLand = true;
    const answer = await fetch(box.dataset.land);
    const shapes = landShape(await answer.json());
    map.createPane("land").style.zIndex = 150;
    L.polygon(shapes, { className: "land", pane: "land", interactive: false, smoothFactor: 1.5, renderer: L.svg({ pane: "land", padding: 0.3 }) }).addTo(map);
    const grid = L.layerGroup().addTo(map);
    const draw = () => drawGrid(grid);
    map.on("moveend", draw);
    draw();
  }

  function drawGrid(grid) {
    grid.clearLayers();
    const bounds = map.getBounds();
    const extent = Math.max(bounds.getEast() - bounds.getWest(), bounds.getNorth() - bounds.getSouth());
    const step = GRID_STEPS.findLast((one) => extent / one <= LONGEST_GRID_LINES) ?? GRID_STEPS[0];
    const decimals = step >= 1 ? 0 : step >= 0.1 ? 1 : 2;
    const line = (points, text) => {
      L.polyline(points, { className: "grid-line", interactive: false, pane: "land" }).addTo(grid);
      L.marker(points[0], { icon: L.divIcon({ className: "grid-text", html: text, iconSize: [60, 14], iconAnchor: [-4, 14] }), interactive: false, keyboard: false }).addTo(grid);
    };
    const [south, north] = [Math.max(-85, bounds.getSouth()), Math.min(85, bounds.getNorth())];
    const amount = (degrees) => ({ n: number(Math.abs(degrees), decimals) });
    const east = (degrees) => (degrees < 0 ? say("map.west", amount(degrees)) : say("map.east", amount(degrees)));
    const up = (degrees) => (degrees < 0 ? say("map.south", amount(degrees)) : say("map.north", amount(degrees)));
    for (let place = Math.ceil(bounds.getWest() / step); place * step <= bounds.getEast(); place += 1) line([[south, place * step], [north, place * step]], east(place * step));
    for (let place = Math.ceil(south / step); place * step <= north; place += 1) line([[place * step, bounds.getWest()], [place * step, bounds.getEast()]], up(place * step));
  }

  function addTiles() {
    let failures = 0;
    const tiles = L.tileLayer(box.dataset.tiles, { attribution: escape(box.dataset.attribution ?? ""), maxZoom: 19, className: "tiles" });
    tiles.on("tileerror", () => {
      failures += 1;
      if (failures !== TILE_FAILURES) return;
      tiles.remove();
      box.querySelector("#map-note").textContent = say("map.tiles_away");
      addLand();
    });
    tiles.addTo(map);
  }

  function make() {
    const isInFeet = units.factor !== 1;
    map = L.map(box.querySelector("#map"), { zoomControl: false, attributionControl: Boolean(box.dataset.tiles), worldCopyJump: true, minZoom: 1, maxZoom: 18 });
    L.control.zoom({ position: "topright", zoomInTitle: say("map.zoom_in"), zoomOutTitle: say("map.zoom_out") }).addTo(map);
    map.attributionControl?.setPrefix(false);
    L.control.scale({ metric: !isInFeet, imperial: isInFeet }).addTo(map);
    cluster = L.markerClusterGroup({ iconCreateFunction: clusterIcon, chunkedLoading: true, maxClusterRadius: 56, showCoverageOnHover: false, animate: !matchMedia("(prefers-reduced-motion: reduce)").matches });
    map.setView([16, 107], 5);
    map.addLayer(cluster);
    if (box.dataset.tiles) addTiles();
    else addLand();
    new ResizeObserver(() => map.invalidateSize()).observe(map.getContainer());
  }

  function fit() {
    const bounds = L.latLngBounds([...markers.values()].map((marker) => marker.getLatLng()));
    if (bounds.isValid()) map.fitBounds(bounds.pad(0.08), { maxZoom: FIRST_ZOOM_MOST, animate: false });
  }

  // Shows what the page's choice gives; another choice moves the map to its stations, news never do.
  async function show(shown) {
    const container = shown.querySelector("#map");
    const isNew = !map || map.getContainer() !== container;
    if (!isNew && source === shown.dataset.source) {
      box = shown;
      return;
    }
    [box, source] = [shown, shown.dataset.source];
    const content = await ask(null);
    kinds = content.kinds;
    units = content;
    if (isNew) {
      map?.remove();
      markers.clear();
      make();
    }
    put(content.stations, true);
    tell(content);
    fit();
  }

  function refresh(devices) {
    if (!map || !box.isConnected) return;
    if (devices === null) isWhole = true;
    else for (const device of devices) changed.add(device);
    if (timer === null) timer = setTimeout(update, Math.max(200, lastMs + OTHERS_PAUSE_MS - Date.now()));
  }

  function mayLoseStations() {
    const query = new URLSearchParams(source.split("?")[1]);
    return query.has("state") || query.has("quality");
  }

  async function update() {
    timer = null;
    lastMs = Date.now();
    const devices = [...changed];
    const asksAll = isWhole || devices.length > MOST_DEVICES || mayLoseStations();
    changed.clear();
    isWhole = false;
    try {
      const content = await ask(asksAll ? null : devices);
      put(content.stations, asksAll);
      if (asksAll) tell(content);
    } catch {
      isWhole = true;
    }
  }

  window.streamgauge.map = { show, refresh };
})();
