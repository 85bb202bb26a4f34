// The station page: ranges and zoom are addresses that HTMX asks for; what is new comes over the WebSocket.
"use strict";

(() => {
  const { Live, Chart, tick } = window.streamgauge;
  const history = document.getElementById("history");
  const page = `/stations/${history.dataset.device}`;
  const SHORTEST_PAUSE_MS = 1_000;
  const MOVE_SHARE = 0.25;
  const MOVE_PAUSE_MS = 150;
  const MOST_RECENT = 500;
  const earlier = [];
  const recent = [];
  let shown = null;
  let chart = null;
  let timer = null;
  let lastMs = 0;

  function show() {
    const source = document.getElementById("chart-data");
    // Fragments that leave the chart alone end here too.
    if (source === shown) return tick();
    shown = source;
    chart?.destroy();
    const content = JSON.parse(source.textContent);
    chart = new Chart(document.getElementById("chart"), content, document.getElementById("readout"), { zoom, back, stale: reload });
    window.streamgauge.chart = chart;
    // What came while this answer was on its way is not in it.
    const missed = recent.filter((event) => isAfter(event.id, content.live));
    missed.forEach(take);
    if (missed.length) chart.update();
    tick();
  }

  function take(event) {
    for (const reading of event.readings) chart.add(reading);
    for (const forecast of event.forecasts) chart.setForecast(forecast);
  }

  function isAfter(id, other) {
    const [[a, b], [c, d]] = [id.split("-").map(Number), other.split("-").map(Number)];
    return a > c || (a === c && b > d);
  }

  const address = (from, to) => `${page}?${new URLSearchParams({ from: new Date(from * 1e3).toISOString(), to: new Date(to * 1e3).toISOString() })}`;
  const go = (path) => htmx.ajax("GET", path, { source: "#history", target: "#history", swap: "innerHTML" });

  function zoom(from, to) {
    if (to - from < 10) return;
    earlier.push(location.pathname + location.search);
    go(address(from, to));
  }

  function back() {
    go(earlier.pop() ?? page);
  }

  // The same window anew, without another entry in the browser's history.
  function reload() {
    htmx.ajax("GET", location.pathname + location.search, { target: "#history", swap: "innerHTML" });
  }

  const keepFocus = () => document.getElementById("chart").focus({ preventScroll: true });

  function follow(link) {
    earlier.push(location.pathname + location.search);
    go(link.getAttribute("href")).then(keepFocus);
  }

  let moved = 0;
  let moving = null;
  function pressed(event) {
    const step = { ArrowLeft: -MOVE_SHARE, ArrowRight: MOVE_SHARE }[event.key];
    const link = { "+": "closer", "=": "closer", "-": "wider" }[event.key];
    if (event.key === "Escape") back();
    if (link) follow(document.querySelector(`[data-step="${link}"]`));
    if (!step) return;
    event.preventDefault();
    if (event.shiftKey) {
      document.getElementById("readout").ariaLive = "polite";
      return chart.step(Math.sign(step));
    }
    moved += step;
    clearTimeout(moving);
    moving = setTimeout(() => {
      const { start, end } = chart.content;
      const by = moved * (end - start);
      moved = 0;
      go(address(start + by, end + by)).then(keepFocus);
    }, MOVE_PAUSE_MS);
  }

  function refreshHead() {
    if (timer !== null) return;
    timer = setTimeout(async () => {
      try {
        const query = new URLSearchParams(location.search);
        query.set("alerts", document.getElementById("alerts-now").dataset.digest);
        await htmx.ajax("GET", `${page}/now?${query}`, { target: "#history", swap: "none" });
      } catch {
        // The server is away for a moment; whatever comes next asks again.
      } finally {
        lastMs = Date.now();
        timer = null;
      }
    }, Math.max(60, lastMs + SHORTEST_PAUSE_MS - Date.now()));
  }

  let isDrawing = false;
  function updateSoon() {
    if (isDrawing) return;
    isDrawing = true;
    requestAnimationFrame(() => {
      isDrawing = false;
      chart.update();
    });
  }

  history.addEventListener("keydown", (event) => event.target.id === "chart" && pressed(event));
  document.addEventListener("htmx:afterSettle", (event) => (event.target.id === "history" ? show() : tick()));
  show();

  window.streamgauge.live = new Live(history.dataset.liveAfter, [history.dataset.device], {
    readings(readings, id, forecasts) {
      const event = { id, readings, forecasts };
      recent.push(event);
      if (recent.length > MOST_RECENT) recent.shift();
      take(event);
      updateSoon();
      refreshHead();
    },
    gap() {
      reload();
      refreshHead();
    },
  });
})();
