// The overview stays live: changed cards are asked for as the server writes them, pages whose order changed are asked for anew,
// pages far off are put aside, and the map is loaded when it shows.
"use strict";

(() => {
  const { Live, tick, say } = window.streamgauge;
  const SHORTEST_PAUSE_MS = 1_000;
  const OTHERS_PAUSE_MS = 5_000;
  const LONGEST_PAUSE_MS = 30_000;
  const PAUSE_PER_ANSWER = 10;
  const MOST_CARDS = 200;
  const ASIDE_MARGIN = "200% 0px";
  const board = document.getElementById("board");
  const changed = new Set();
  let isStale = false;
  let timer = null;
  let dueMs = 0;
  let lastMs = 0;
  let answerMs = 0;
  let isAsking = false;

  const cardsBox = () => document.getElementById("cards");
  const cardOf = (device) => document.getElementById(`card-${device}`);
  const pages = () => [...document.querySelectorAll("#cards .page")];
  const query = () => new URLSearchParams(cardsBox()?.dataset.query ?? "");

  // A slow server is asked less often; what one does not see is less urgent than what one sees.
  function schedule() {
    if (isAsking || (!changed.size && !isStale)) return;
    const isSeen = isStale || !cardsBox()?.dataset.query?.length ? true : [...changed].some(cardOf);
    const pause = Math.min(LONGEST_PAUSE_MS, Math.max(isSeen ? SHORTEST_PAUSE_MS : OTHERS_PAUSE_MS, PAUSE_PER_ANSWER * answerMs));
    const ms = Math.max(Date.now() + 80, lastMs + pause);
    if (timer !== null && dueMs <= ms) return;
    clearTimeout(timer);
    dueMs = ms;
    timer = setTimeout(refresh, ms - Date.now());
  }

  async function refresh() {
    const devices = [...changed];
    const wasStale = isStale;
    changed.clear();
    isStale = false;
    isAsking = true;
    timer = null;
    const startMs = performance.now();
    try {
      if (!cardsBox()?.dataset.view) await htmx.ajax("GET", location.pathname + location.search, { target: "#board", swap: "innerHTML" });
      else await follow(devices, wasStale);
      window.streamgauge.map?.refresh(wasStale ? null : devices);
    } finally {
      answerMs = performance.now() - startMs;
      lastMs = Date.now();
      isAsking = false;
      schedule();
    }
  }

  async function follow(devices, isGap) {
    const asked = query();
    const shown = pages().filter((page) => !page.classList.contains("is-aside"));
    const seen = isGap ? [...document.querySelectorAll("#cards .card")].map((card) => card.dataset.device) : devices.filter(cardOf);
    for (const device of seen.slice(0, MOST_CARDS)) asked.append("device", device);
    for (const page of shown) asked.append("shown", page.dataset.page);
    const levels = new Map(seen.map((device) => [device, cardOf(device)?.querySelector(".level")?.textContent]));
    await htmx.ajax("GET", `/overview/cards?${asked}`, { target: "#board", swap: "none" });
    for (const [device, level] of levels) {
      const card = cardOf(device);
      if (card && card.querySelector(".level").textContent !== level) card.classList.add("is-new");
    }
    await putInOrder(shown);
  }

  // Only pages on which other stations stand now, or the same in another order, are written anew.
  async function putInOrder(shown) {
    const order = document.getElementById("order");
    const tokens = JSON.parse(order.dataset.pages || "{}");
    const last = Number(order.dataset.last || 1);
    for (const page of shown) {
      const number = Number(page.dataset.page);
      if (number > last && number > 1) page.remove();
      else if (tokens[number] !== page.dataset.order) await fetchPage(page);
    }
    if (!shown.length && cardsBox()?.dataset.view !== "map" && Number(order.dataset.registered)) await found();
    dropTwins();
  }

  const found = () => htmx.ajax("GET", location.pathname + location.search, { target: "#results", swap: "innerHTML" });

  async function fetchPage(page) {
    const asked = query();
    asked.set("page", page.dataset.page);
    // The last page brings what leads to the next one; others have it behind them.
    const isLast = page === pages().at(-1);
    if (isLast) document.getElementById("more")?.remove();
    else asked.set("alone", "1");
    await htmx.ajax("GET", `/overview/page?${asked}`, { target: page, swap: "outerHTML" });
  }

  function dropTwins() {
    const known = new Set();
    for (const card of document.querySelectorAll("#cards .card")) {
      if (known.has(card.id)) card.remove();
      else known.add(card.id);
    }
  }

  // Pages far off keep their place and nothing else, so that thousands of stations weigh as little as a hundred.
  const aside = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting, boundingClientRect } of entries) {
        const isAside = target.classList.contains("is-aside");
        if (!isIntersecting && !isAside && boundingClientRect.height) {
          target.style.height = `${boundingClientRect.height}px`;
          target.classList.add("is-aside");
          target.replaceChildren();
        } else if (isIntersecting && isAside) fetchPage(target);
      }
    },
    { rootMargin: ASIDE_MARGIN },
  );

  function watchPages() {
    aside.disconnect();
    for (const page of pages()) aside.observe(page);
  }

  // The map: beside the stations where there is room, on its own where it was asked for.
  const wide = matchMedia("(min-width: 1100px)");
  let mapLoading = null;

  function loadScript(source) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = source;
      script.async = false;
      script.onload = resolve;
      script.onerror = () => reject(new Error(source));
      document.head.append(script);
    });
  }

  function loadMap(box) {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = box.dataset.leafletStyle;
    document.head.append(style);
    return loadScript(box.dataset.leaflet)
      .then(() => loadScript(box.dataset.cluster))
      .then(() => loadScript(box.dataset.script));
  }

  async function showMap() {
    const box = document.getElementById("map-box");
    if (!box || !(wide.matches || box.classList.contains("is-alone"))) return;
    try {
      mapLoading ??= loadMap(box);
      await mapLoading;
      await window.streamgauge.map.show(box);
    } catch {
      mapLoading = null;
      document.getElementById("map-note").textContent = say("map.failed");
    }
  }

  function settled() {
    tick();
    watchPages();
    showMap();
  }

  // What is typed stays the choice of the form when one goes elsewhere by a link: the form follows the address.
  function fillForm() {
    const asked = new URLSearchParams(location.search);
    for (const name of ["q", "river", "quality", "sort"]) {
      const field = document.querySelector(`#filters [name="${name}"]`);
      if (field && field !== document.activeElement) field.value = asked.get(name) ?? "";
    }
  }

  document.addEventListener("htmx:afterSettle", settled);
  document.addEventListener("htmx:pushedIntoHistory", fillForm);
  document.addEventListener("htmx:configRequest", (event) => {
    // Addresses are what one shares: what was left empty is not in them.
    const { parameters } = event.detail;
    if (event.detail.elt.id === "filters") for (const name of [...Object.keys(parameters)]) if (!parameters[name]) delete parameters[name];
  });
  document.addEventListener("streamgauge:silent", (event) => {
    for (const device of event.detail) changed.add(device);
    schedule();
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input, select, textarea");
    if (event.key === "/" && !isTyping) {
      event.preventDefault();
      document.getElementById("search")?.focus();
    } else if (event.key === "Escape" && cardsBox()?.dataset.view === "wall") document.getElementById("view-cards")?.click();
  });
  wide.addEventListener("change", showMap);
  settled();

  window.streamgauge.live = new Live(board.dataset.liveAfter, [], {
    readings(readings) {
      for (const reading of readings) changed.add(reading.device);
      schedule();
    },
    gap() {
      isStale = true;
      schedule();
    },
  });
})();
