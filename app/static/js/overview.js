// The overview stays live: changed cards are asked for as the server writes them, at most once a second.
"use strict";

(() => {
  const { Live, tick } = window.streamgauge;
  const SHORTEST_PAUSE_MS = 1_000;
  const MOST_CARDS = 60;
  const board = document.getElementById("board");
  const changed = new Set();
  let isBoardStale = false;
  let timer = null;
  let lastMs = 0;

  const cardOf = (device) => document.getElementById(`card-${device}`);
  const chosenState = () => document.getElementById("cards")?.dataset.filter || "";

  function schedule() {
    if (timer !== null) return;
    timer = setTimeout(refresh, Math.max(80, lastMs + SHORTEST_PAUSE_MS - Date.now()));
  }

  async function refresh() {
    const devices = [...changed];
    changed.clear();
    // A station that has no card here is new, or enters or leaves the chosen state: the server knows its place.
    const whole = isBoardStale || chosenState() || devices.length > MOST_CARDS || devices.some((device) => !cardOf(device));
    isBoardStale = false;
    try {
      if (whole) await htmx.ajax("GET", location.pathname + location.search, { target: "#board", swap: "innerHTML" });
      else if (devices.length) await askForCards(devices);
    } finally {
      lastMs = Date.now();
      timer = null;
      if (changed.size || isBoardStale) schedule();
    }
  }

  async function askForCards(devices) {
    const query = new URLSearchParams(devices.map((device) => ["device", device]));
    await htmx.ajax("GET", `/overview/cards?${query}`, { target: "#board", swap: "none" });
    for (const device of devices) cardOf(device)?.classList.add("is-new");
    sortCards();
  }

  // Cards move only when the order of states says so.
  function sortCards() {
    const grid = document.getElementById("cards");
    const cards = [...grid.querySelectorAll(".card")];
    const order = (a, b) => a.dataset.rank - b.dataset.rank || a.dataset.title.toLowerCase().localeCompare(b.dataset.title.toLowerCase());
    const sorted = [...cards].sort(order);
    if (sorted.some((card, index) => card !== cards[index])) grid.append(...sorted);
  }

  document.addEventListener("htmx:afterSettle", tick);
  document.addEventListener("streamgauge:silent", (event) => {
    for (const device of event.detail) changed.add(device);
    schedule();
  });

  window.streamgauge.live = new Live(board.dataset.liveAfter, [], {
    readings(readings) {
      for (const reading of readings) changed.add(reading.device);
      schedule();
    },
    gap() {
      isBoardStale = true;
      schedule();
    },
  });
})();
