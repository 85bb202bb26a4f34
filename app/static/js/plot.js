// What all charts share: tokens, axes of time and numbers, a crosshair under the finger, and paper.
"use strict";

(() => {
  const { number, locale } = window.streamgauge;
  const AXIS_WIDTH = 58;
  const DAY_S = 86_400;
  const LEAST_SELECTED_PX = 6;
  const root = document.documentElement;

  const token = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const hasPhoneWidth = () => window.innerWidth < 640;
  const font = (size, weight = 400) => `${weight} ${size * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
  const faint = (colour) => `color-mix(in srgb, ${colour} 18%, transparent)`;

  // First index whose time is not before the given one.
  function indexOf(times, time) {
    let low = 0;
    let high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function timeText(zone, seconds, step) {
    const write = (options) => new Intl.DateTimeFormat(locale, { timeZone: zone, hourCycle: "h23", ...options }).format(seconds * 1e3);
    if (step >= 360 * DAY_S) return write({ year: "numeric" });
    if (step >= 28 * DAY_S) return write({ month: "short", year: "numeric" });
    const day = write({ day: "numeric", month: "short" });
    if (step >= DAY_S) return day;
    const time = write({ hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}) });
    return time === "00:00" ? day : time;
  }

  function moment(zone, seconds, nowMs) {
    const format = { timeZone: zone, hourCycle: "h23", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
    if (new Date(seconds * 1e3).getUTCFullYear() !== new Date(nowMs).getUTCFullYear()) format.year = "numeric";
    return new Intl.DateTimeFormat(locale, format).format(seconds * 1e3);
  }

  const decimalsOf = (step) => (step >= 1 ? 0 : Math.min(3, Math.ceil(-Math.log10(step) - 1e-9)));

  // The axes of time and of a number; `decimals` at least.
  function axes(zone, decimals) {
    const base = {
      stroke: token("muted"),
      font: `12px ${getComputedStyle(document.body).fontFamily}`,
      grid: { stroke: token("line"), width: 1 },
      ticks: { stroke: token("line"), width: 1, size: 6 },
    };
    return [
      { ...base, size: 36, space: 76, values: (_, splits, __, ___, step) => splits.map((time) => timeText(zone, time, step)) },
      { ...base, size: AXIS_WIDTH, space: 42, values: (_, splits, __, ___, step) => splits.map((value) => number(value, Math.max(decimals, decimalsOf(step)))) },
    ];
  }

  // Size, zone, margins and crosshair; `cursor` adds to the last.
  function frame(box, zone, cursor = {}) {
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), zone),
      legend: { show: false },
      padding: [10, hasPhoneWidth() ? 4 : 12, 0, 0],
      cursor: { points: { size: 8, width: 2, stroke: token("accent"), fill: token("raised") }, ...cursor },
    };
  }

  function fit(plots) {
    for (const plot of plots) {
      const box = plot.root.parentElement;
      if (box && Math.abs(box.clientWidth - plot.width) > 1) plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    }
  }

  // Readings between two gaps, which no line shows: a series' ``points.filter``, for where its points are too many to show all.
  function lonely(plot, place, areAllShown) {
    if (areAllShown) return null;
    const values = plot.data[place];
    return values.flatMap((value, index) => (value != null && values[index - 1] == null && values[index + 1] == null ? [index] : []));
  }

  // The stretch of time that was drawn over a chart, which is told to `zoom`. The charts beside it follow the selection, but the
  // one under the pointer alone tells of it.
  function selected(plot, zoom) {
    const { left, width } = plot.select;
    const isOurs = Boolean(plot.cursor.event);
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (isOurs && width >= LEAST_SELECTED_PX) zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  }

  // uPlot follows a mouse; a finger that moves sideways is followed here, one that moves up or down scrolls the page.
  function followFinger(plot) {
    const follow = (event) => {
      const { left, top } = plot.over.getBoundingClientRect();
      plot.setCursor({ left: event.touches[0].clientX - left, top: event.touches[0].clientY - top });
    };
    plot.over.addEventListener("touchstart", follow, { passive: true });
    plot.over.addEventListener("touchmove", follow, { passive: true });
  }

  // On paper everything is light and as wide as the paper: what is drawn is drawn again for it.
  const redraws = new Set();
  let themeOnScreen = null;
  function turn(isPaper) {
    if (isPaper === root.classList.contains("on-paper")) return;
    root.classList.toggle("on-paper", isPaper);
    if (isPaper) {
      themeOnScreen = root.dataset.theme ?? null;
      root.dataset.theme = "light";
    } else if (themeOnScreen === null) delete root.dataset.theme;
    else root.dataset.theme = themeOnScreen;
    redraws.forEach((redraw) => redraw());
  }
  window.matchMedia("print").addEventListener("change", (event) => turn(event.matches));
  window.addEventListener("beforeprint", () => turn(true));
  window.addEventListener("afterprint", () => turn(false));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraws.forEach((redraw) => redraw()));

  Object.assign(window.streamgauge, { token, hasPhoneWidth, font, faint, indexOf, moment, axes, frame, fit, lonely, selected, followFinger, redraws });
})();
