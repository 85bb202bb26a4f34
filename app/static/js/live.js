// What every live page shares: words, ages that tick and fade, and the WebSocket that comes back by itself.
"use strict";

window.streamgauge = (() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  // Days before months, as both languages write them here.
  const locale = { en: "en-GB", vi: "vi-VN" }[document.documentElement.lang];
  const clockOffsetMs = Number(document.body.dataset.now) * 1000 - Date.now();
  const HEARTBEAT_LIMIT_MS = 25_000;
  const LONGEST_RETRY_MS = 30_000;
  const PROOF_MS = 500;
  const QUIET_MS = 1_500;
  const TOLD_MS = 30_000;
  const FADING_SHARE = 0.5;
  // The server's word for a session that has ended; see docs/live.md.
  const SIGNED_OUT = 4401;

  const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const knows = (key) => key in words;
  const now = () => Date.now() + clockOffsetMs;
  const number = (value, decimals) =>
    new Intl.NumberFormat(locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).format(value);
  // Whose time a page tells: its station's, or UTC by choice; else the browser's own.
  const pageZone = () => (document.querySelector("main [data-zone]") ?? document.body).dataset.zone;
  const clock = (ms) => new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: pageZone() }).format(ms);
  const zonedClock = (ms) => (pageZone() ? `${clock(ms)} (${pageZone()})` : say("clock.local", { time: clock(ms) }));

  // The same steps as app/i18n: Words.age.
  function ageText(seconds) {
    if (seconds < 60) return say("age.now");
    if (seconds < 3_600) return say("age.minutes", { n: Math.floor(seconds / 60) });
    if (seconds < 2 * 86_400) return say("age.hours", { n: Math.floor(seconds / 3_600) });
    if (seconds < 2 * 365 * 86_400) return say("age.days", { n: Math.floor(seconds / 86_400) });
    return say("age.years", { n: Math.floor(seconds / (365 * 86_400)) });
  }

  // Lets ages tick and old numbers fade; tells which stations have just fallen silent.
  function tick() {
    const silent = [];
    for (const element of document.querySelectorAll("[data-time]")) {
      const seconds = Math.max(0, (now() - Date.parse(element.dataset.time)) / 1000);
      const share = seconds / Number(element.dataset.silence);
      const freshness = share < FADING_SHARE ? "fresh" : share <= 1 ? "fading" : "old";
      if (freshness === "old" && element.dataset.freshness !== "old" && element.dataset.device) silent.push(element.dataset.device);
      element.dataset.freshness = freshness;
      const age = element.querySelector(".age");
      const text = ageText(seconds);
      if (age && age.textContent !== text) age.textContent = text;
    }
    if (silent.length) document.dispatchEvent(new CustomEvent("streamgauge:silent", { detail: silent }));
  }

  class Live {
    // handlers: readings(list, id, forecasts), gap()
    constructor(afterId, devices, handlers) {
      this.lastId = afterId;
      this.devices = devices;
      this.handlers = handlers;
      this.failures = 0;
      this.lostAtMs = null;
      this.banner = document.getElementById("connection");
      this.open();
      window.addEventListener("online", () => this.reconnectNow());
      document.addEventListener("visibilitychange", () => document.hidden || this.reconnectNow());
    }

    open() {
      const query = new URLSearchParams({ after: this.lastId });
      for (const device of this.devices) query.append("device", device);
      const scheme = location.protocol === "https:" ? "wss:" : "ws:";
      const socket = new WebSocket(`${scheme}//${location.host}/live?${query}`);
      this.socket = socket;
      socket.onmessage = (event) => this.heard(JSON.parse(event.data));
      socket.onclose = (event) => this.closed(socket, event.code);
    }

    heard(frame) {
      this.failures = 0;
      clearTimeout(this.watchdog);
      this.watchdog = setTimeout(() => this.socket.close(), HEARTBEAT_LIMIT_MS);
      if (frame.type === "heartbeat" && !frame.fed) return this.lost();
      if (frame.type === "gap") {
        this.lastId = frame.id;
        this.handlers.gap();
      } else if (frame.type === "readings") {
        this.lastId = frame.id;
        this.handlers.readings(frame.readings, frame.id, frame.forecasts ?? []);
      }
      if (frame.type !== "hello") this.back();
      // Nothing was missed if nothing comes: then the first quiet moment is the proof.
      else this.proving = setTimeout(() => this.socket.readyState === WebSocket.OPEN && this.back(), PROOF_MS);
    }

    closed(socket, code) {
      if (socket !== this.socket) return;
      clearTimeout(this.watchdog);
      this.lost();
      this.failures += 1;
      if (code === SIGNED_OUT || this.failures === 4) this.askWhetherSignedIn();
      const longest = Math.min(LONGEST_RETRY_MS, 500 * 2 ** Math.min(this.failures, 8));
      this.retry = setTimeout(() => this.open(), longest * (0.5 + Math.random() / 2));
    }

    reconnectNow() {
      if (this.socket.readyState !== WebSocket.CLOSED) return;
      clearTimeout(this.retry);
      this.open();
    }

    // A refused WebSocket does not say why; a page does.
    async askWhetherSignedIn() {
      try {
        const answer = await fetch(location.href, { headers: { "HX-Request": "true" } });
        if (answer.status === 401) location.assign(answer.headers.get("HX-Redirect") || "/login");
      } catch {
        // Still away; the next attempt is on its way.
      }
    }

    lost() {
      clearTimeout(this.proving);
      if (this.lostAtMs !== null) return;
      this.lostAtMs = Date.now();
      this.telling = setTimeout(() => this.tell(say("connection.lost", { time: zonedClock(this.lostAtMs) })), QUIET_MS);
    }

    back() {
      if (this.lostAtMs === null) return;
      clearTimeout(this.telling);
      const from = clock(this.lostAtMs);
      const wasTold = !this.banner.hidden;
      this.lostAtMs = null;
      if (!wasTold) return;
      this.tell(say("connection.back", { from, to: zonedClock(Date.now()) }));
      this.telling = setTimeout(() => (this.banner.hidden = true), TOLD_MS);
    }

    tell(text) {
      this.banner.querySelector("span").textContent = text;
      this.banner.hidden = false;
    }
  }

  tick();
  setInterval(tick, 5_000);
  return { say, knows, number, now, tick, locale, Live };
})();
