// The chart of a station: level with its expected band and its forecast, marks, and other quantities on the same time axis.
"use strict";

window.streamgauge.Chart = (() => {
  const { say, knows, number, locale, now, token, hasPhoneWidth, drawMarks, mendGaps } = window.streamgauge;
  const AXIS_WIDTH = 58;
  const MARK_REACH_PX = 9;
  const MOST_POINTS = 4_000;
  const SPAN_MARGIN = 0.08;
  const [TIME, LEVEL, EXPECTED, LOW, HIGH] = [0, 1, 2, 3, 4];
  // A point of a forecast: time, expected, low, high, method.
  const [AT, AHEAD, LEAST, MOST] = [0, 1, 2, 3];
  const FADED = 0.45;

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

  return class Chart {
    // handlers: zoom(fromS, toS), back(), stale()
    constructor(root, content, readout, handlers) {
      this.root = root;
      this.content = content;
      this.readout = readout;
      this.handlers = handlers;
      this.plots = [];
      // Until when each of the columns is as the server made it.
      const made = [content.level, ...content.others.map((other) => other.columns)];
      this.settled = new Map(made.map((columns) => [columns, columns[TIME].at(-1) ?? -Infinity]));
      this.resizing = new ResizeObserver(() => this.resize());
      this.resizing.observe(root);
      this.media = window.matchMedia("(prefers-color-scheme: dark)");
      this.onTheme = () => this.draw();
      this.media.addEventListener("change", this.onTheme);
      this.draw();
    }

    destroy() {
      this.resizing.disconnect();
      this.media.removeEventListener("change", this.onTheme);
      this.plots.forEach((plot) => plot.destroy());
    }

    draw() {
      this.plots.forEach((plot) => plot.destroy());
      this.root.replaceChildren();
      const level = this.place("chart-level", null);
      this.plots = [new uPlot(this.levelOptions(level), this.levelData(), level)];
      for (const other of this.content.others) {
        const box = this.place("chart-other", say(`quantity.${other.name}`));
        this.plots.push(new uPlot(this.otherOptions(box, other), other.columns, box));
      }
      this.tellNewest();
    }

    place(kind, title) {
      if (title) {
        const heading = document.createElement("p");
        heading.className = "mt-3 text-sm text-muted";
        heading.textContent = title;
        this.root.append(heading);
      }
      const box = document.createElement("div");
      box.className = kind;
      this.root.append(box);
      return box;
    }

    resize() {
      for (const plot of this.plots) {
        const box = plot.root.parentElement;
        if (box && Math.abs(box.clientWidth - plot.width) > 1) plot.setSize({ width: box.clientWidth, height: box.clientHeight });
      }
    }

    levelData() {
      const columns = this.content.level;
      return [columns[TIME], columns[LOW], columns[HIGH], columns[EXPECTED], columns[LEVEL]];
    }

    common(box) {
      return {
        width: box.clientWidth,
        height: box.clientHeight,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), this.content.zone),
        legend: { show: false },
        padding: [10, hasPhoneWidth() ? 4 : 12, 0, 0],
        cursor: {
          sync: { key: "station" },
          drag: { x: true, y: false, setScale: false },
          points: { size: 8, width: 2, stroke: token("accent"), fill: token("raised") },
          bind: { dblclick: () => () => this.handlers.back() },
        },
      };
    }

    axes(decimals) {
      const base = {
        stroke: token("muted"),
        font: `12px ${getComputedStyle(document.body).fontFamily}`,
        grid: { stroke: token("line"), width: 1 },
        ticks: { stroke: token("line"), width: 1, size: 6 },
      };
      return [
        { ...base, size: 36, space: 76, values: (_, splits, __, ___, step) => splits.map((time) => this.timeText(time, step)) },
        { ...base, size: AXIS_WIDTH, space: 42, values: (_, splits, __, ___, step) => splits.map((v) => number(v, Math.max(decimals, this.decimals(step)))) },
      ];
    }

    decimals(step) {
      return step >= 1 ? 0 : Math.min(3, Math.ceil(-Math.log10(step) - 1e-9));
    }

    timeText(seconds, step) {
      const zone = this.content.zone;
      const write = (options) => new Intl.DateTimeFormat(locale, { timeZone: zone, hourCycle: "h23", ...options }).format(seconds * 1e3);
      if (step >= 28 * 86_400) return write({ month: "short", year: "numeric" });
      const day = write({ day: "numeric", month: "short" });
      if (step >= 86_400) return day;
      const time = write({ hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}) });
      return time === "00:00" ? day : time;
    }

    levelOptions(box) {
      const accent = token("accent");
      const edge = { stroke: null, width: 0, points: { show: false } };
      return {
        ...this.common(box),
        scales: {
          x: { range: () => [this.content.start, this.content.end] },
          y: { range: () => this.content.span },
        },
        axes: this.axes(2),
        series: [
          {},
          edge,
          edge,
          { stroke: token("muted"), width: 1, points: { show: false } },
          { stroke: accent, width: 2, points: { size: 4, fill: accent, stroke: accent, width: 0 } },
        ],
        bands: [{ series: [2, 1], fill: this.faint(accent) }],
        hooks: {
          drawAxes: [(plot) => this.drawForecast(plot)],
          draw: [(plot) => drawMarks(plot, this.content), (plot) => this.drawNow(plot)],
          setCursor: [(plot) => this.tellCursor(plot)],
          setSelect: [(plot) => this.selected(plot)],
        },
      };
    }

    faint(colour) {
      return `color-mix(in srgb, ${colour} 18%, transparent)`;
    }

    otherOptions(box, other) {
      return {
        ...this.common(box),
        scales: { x: { range: () => [this.content.start, this.content.end] } },
        axes: this.axes(0),
        series: [{}, { stroke: token("muted"), width: 1.5, points: { size: 4, fill: token("muted"), width: 0 } }],
        hooks: { setSelect: [(plot) => this.selected(plot)] },
        name: other.name,
      };
    }

    selected(plot) {
      const { left, width } = plot.select;
      if (width < 6) return;
      const from = plot.posToVal(left, "x");
      const to = plot.posToVal(left + width, "x");
      plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      this.handlers.zoom(from, to);
    }

    drawNow(plot) {
      const seconds = now() / 1000;
      if (seconds < this.content.start || seconds > this.content.end) return;
      const { ctx, bbox } = plot;
      const x = Math.round(plot.valToPos(seconds, "x", true)) + 0.5;
      ctx.save();
      ctx.strokeStyle = token("muted");
      ctx.lineWidth = 1;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (this.forecast()) {
        ctx.font = `${11 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
        ctx.fillStyle = token("muted");
        ctx.textAlign = "right";
        ctx.textBaseline = "alphabetic";
        ctx.fillText(say("now"), x - 4 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
      }
      ctx.restore();
    }

    // What is expected: dashed beyond the newest reading, its band as a soft fill. An old one is faded: it is not kept up.
    drawForecast(plot) {
      const forecast = this.forecast();
      if (!forecast) return;
      const { ctx, bbox } = plot;
      const place = (point, column) => [plot.valToPos(point[AT], "x", true), plot.valToPos(point[column], "y", true)];
      const { points } = forecast;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      if (now() / 1000 - forecast.issued > forecast.limit) ctx.globalAlpha = FADED;
      ctx.fillStyle = this.faint(token("accent"));
      ctx.beginPath();
      for (const point of points) ctx.lineTo(...place(point, MOST));
      for (const point of [...points].reverse()) ctx.lineTo(...place(point, LEAST));
      ctx.fill();
      ctx.strokeStyle = token("accent");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      for (const point of points) ctx.lineTo(...place(point, AHEAD));
      ctx.stroke();
      ctx.restore();
    }

    forecast() {
      return this.content.forecast;
    }

    // A forecast that has just been made, as the live stream has it. The axis only ever grows for it.
    setForecast(made) {
      const issued = Date.parse(made.issued_at) / 1000;
      const { forecast, follows, range } = this.content;
      if (forecast ? issued < forecast.issued : !(follows && range)) return;
      const base = made.baseline_m;
      const points = made.horizons.map((h) => [issued + h.horizon_s, h.expected_m, h.low_m, h.high_m, h.method]);
      const limit = forecast?.limit ?? Number(document.getElementById("head").dataset.silence);
      this.content.forecast = { issued, limit, points: [[issued, base, base, base, "model"], ...points] };
      for (const point of points) if (point[AT] <= this.content.end) [point[AHEAD], point[LEAST], point[MOST]].forEach((value) => this.widen(value, base));
    }

    // The line above the chart says what the crosshair stands on: value, flag, reason.
    tellCursor(plot) {
      const { left, idx } = plot.cursor;
      if (left == null || left < 0 || idx == null) return this.tellNewest();
      const ahead = this.pointAhead(plot.posToVal(left, "x"));
      if (ahead) return this.tellAhead(ahead);
      const mark = this.markNear(plot, left);
      if (mark) return this.tell(mark.time, mark.level, mark);
      const columns = this.content.level;
      this.tell(columns[TIME][idx], columns[LEVEL][idx], null, columns[LOW][idx], columns[HIGH][idx]);
    }

    // The nearest horizon, where the crosshair stands beyond the newest reading.
    pointAhead(seconds) {
      const times = this.content.level[TIME];
      const points = this.forecast()?.points.slice(1) ?? [];
      if (!points.length || seconds <= Math.max(times.at(-1) ?? 0, this.forecast().issued)) return null;
      return points.reduce((best, point) => (Math.abs(point[AT] - seconds) < Math.abs(best[AT] - seconds) ? point : best));
    }

    tellAhead(point) {
      const parts = [this.moment(point[AT]), `${say("forecast")} ${number(point[AHEAD], 2)} m`, `90 %: ${number(point[LEAST], 2)}–${number(point[MOST], 2)}`];
      if (point[4] === "persistence") parts.push(say("stays"));
      this.readout.textContent = parts.join("  ·  ");
    }

    moment(seconds) {
      const format = { timeZone: this.content.zone, hourCycle: "h23", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
      if (new Date(seconds * 1e3).getUTCFullYear() !== new Date(now()).getUTCFullYear()) format.year = "numeric";
      return new Intl.DateTimeFormat(locale, format).format(seconds * 1e3);
    }

    markNear(plot, left) {
      let nearest = null;
      let distance = MARK_REACH_PX;
      for (const mark of this.content.marks) {
        const away = Math.abs(plot.valToPos(mark.time, "x") - left);
        if (away < distance) [nearest, distance] = [mark, away];
      }
      return nearest;
    }

    tellNewest() {
      const columns = this.content.level;
      for (let index = columns[TIME].length - 1; index >= 0; index -= 1) {
        if (columns[LEVEL][index] !== null) {
          return this.tell(columns[TIME][index], columns[LEVEL][index], null, columns[LOW][index], columns[HIGH][index]);
        }
      }
      this.readout.textContent = "";
    }

    tell(seconds, level, mark, low = null, high = null) {
      if (level == null) return;
      const parts = [this.moment(seconds), `${number(level, 3)} m`];
      if (mark?.text) parts.push(mark.text);
      if (mark?.why) parts.push(mark.why);
      if (mark?.score != null) parts.push(`${say("score")} ${number(mark.score, 2)}`);
      if (low !== null && high !== null) parts.push(`${say("expected")} ${number(low, 3)}–${number(high, 3)}`);
      this.readout.textContent = parts.join("  ·  ");
    }

    // A reading that has just been stored, or whose verdict has just changed.
    add(reading) {
      const seconds = Date.parse(reading.time) / 1000;
      if (seconds < this.content.start) return;
      const flag = (reading.flags || {}).level_m ?? 9;
      const level = reading.level_m ?? null;
      this.put(this.content.level, seconds, [flag === 4 ? null : level, reading.expected_m ?? null, reading.low_m ?? null, reading.high_m ?? null]);
      if (level !== null) this.putMark(seconds, level, flag, reading.score ?? null, reading.surprise ?? "", reading.reasons?.score);
      for (const other of this.content.others) if (reading[other.name] != null) this.put(other.columns, seconds, [reading[other.name]]);
      if (flag !== 4) [level, reading.low_m, reading.high_m].forEach((value) => this.widen(value, level));
    }

    put(columns, seconds, values) {
      const times = columns[TIME];
      const at = indexOf(times, seconds);
      if (times[at] === seconds) {
        values.forEach((value, index) => (columns[index + 1][at] = value));
        return;
      }
      this.insert(columns, at, seconds, values);
      mendGaps(columns, at, this.settled.get(columns));
    }

    insert(columns, at, seconds, values) {
      columns[TIME].splice(at, 0, seconds);
      values.forEach((value, index) => columns[index + 1].splice(at, 0, value));
    }

    putMark(time, level, flag, score, surprise, reason) {
      const marks = this.content.marks.filter((mark) => mark.time !== time);
      const key = flag === 4 ? "fail" : flag === 3 ? "suspect" : "good";
      const isAnomalous = score !== null && score >= this.content.anomaly;
      if (key !== "good" || isAnomalous) {
        const word = surprise ? say(`surprise.${surprise}`) : "";
        const because = this.because(reason);
        const why = because ? `${word}: ${because}` : word;
        marks.push({ time, level, flag: key, score, surprise, why, text: key === "good" ? "" : say(`flag.${key}`) });
      }
      this.content.marks = marks;
    }

    // Why it counts as event or fault, with the sensor that is off where one is: as app/verdict.py says it.
    because(reason) {
      const key = `why.${reason?.why}`;
      if (!knows(key)) return "";
      if (!reason.channel) return say(key);
      const name = `channel.${reason.channel}`;
      return say("why.with_channel", { why: say(key), channel: knows(name) ? say(name) : reason.channel.replaceAll("_", " ") });
    }

    // The axis grows when the water leaves it, and never shrinks while one looks.
    widen(value, level) {
      if (value == null || (value !== level && level == null)) return;
      const [low, high] = this.content.span;
      const room = (high - low) * SPAN_MARGIN;
      if (value > high && value - high < 3 * (high - low)) this.content.span = [low, value + 2 * room];
      if (value < low && low - value < 3 * (high - low)) this.content.span = [value - 2 * room, high];
    }

    // Shows what add() has taken, and moves on if this window follows the time.
    update() {
      const columns = this.content.level;
      if (this.content.follows && this.content.range) {
        const length = this.content.end - this.content.start;
        this.content.end = Math.max(this.content.end, now() / 1000 + (this.forecast() ? this.content.ahead : 0));
        if (this.content.range !== "all") this.content.start = this.content.end - length;
      }
      if (columns[TIME].length > MOST_POINTS) return this.handlers.stale();
      this.plots[0].setData(this.levelData());
      this.content.others.forEach((other, index) => this.plots[index + 1].setData(other.columns));
      this.tellCursor(this.plots[0]);
    }
  };
})();
