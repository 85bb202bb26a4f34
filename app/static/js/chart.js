// The chart of a station: level with its expected band and its forecast, marks, and other quantities on the same time axis.
"use strict";

window.streamgauge.Chart = (() => {
  const { say, now, token, faint, font, indexOf, axes, frame, fit, lonely, selected, followFinger, redraws } = window.streamgauge;
  const { drawMarks, drawStages, drawStageNames, mendGaps, Readout, because, counting } = window.streamgauge;
  const MARK_REACH_PX = 9;
  const MOST_POINTS = 4_000;
  // As app/stations/chart.py has them.
  const SPAN_MARGIN = 0.08;
  const LEAST_SPAN_M = 0.1;
  const [BAND_SHARE, AHEAD_SHARE] = [0.5, 1];
  const [TIME, LEVEL, EXPECTED, LOW, HIGH] = [0, 1, 2, 3, 4];
  // A point of a forecast: time, expected, low, high, method.
  const [AT, AHEAD, LEAST, MOST] = [0, 1, 2, 3];
  const FADED = 0.45;

  // Everything that has a length, in the user's units: the page has it in metres.
  function inUnits(content) {
    const scaled = (value) => (value == null ? null : value * content.factor);
    const column = (values) => values.map(scaled);
    return {
      ...content,
      span: column(content.span),
      stages: content.stages.map((stage) => ({ ...stage, level: scaled(stage.level) })),
      level: [content.level[TIME], ...content.level.slice(1).map(column)],
      raw: content.raw.map(([time, level]) => [time, scaled(level)]),
      marks: content.marks.map((mark) => ({ ...mark, level: scaled(mark.level) })),
      forecast: content.forecast && {
        ...content.forecast,
        points: content.forecast.points.map(([at, expected, least, most, method]) => [at, scaled(expected), scaled(least), scaled(most), method]),
      },
      others: content.others.map((other) => ({
        ...other,
        columns: [other.columns[0], other.columns[1].map((value) => (value === null ? null : value * other.factor + other.offset))],
      })),
    };
  }

  return class Chart {
    // handlers: zoom(fromS, toS), back(), stale()
    constructor(root, content, readout, handlers) {
      this.root = root;
      this.content = inUnits(content);
      this.readout = new Readout(readout, this.content);
      this.handlers = handlers;
      this.plots = [];
      // Until when each of the columns is as the server made it.
      const made = [this.content.level, ...this.content.others.map((other) => other.columns)];
      this.settled = new Map(made.map((columns) => [columns, columns[TIME].at(-1) ?? -Infinity]));
      this.resizing = new ResizeObserver(() => fit(this.plots));
      this.resizing.observe(root);
      this.redraw = () => this.draw();
      redraws.add(this.redraw);
      this.draw();
    }

    destroy() {
      this.resizing.disconnect();
      redraws.delete(this.redraw);
      this.plots.forEach((plot) => plot.destroy());
    }

    draw() {
      this.plots.forEach((plot) => plot.destroy());
      this.root.replaceChildren();
      const level = this.place("chart-level", null);
      this.plots = [new uPlot(this.levelOptions(level), this.levelData(), level)];
      for (const other of this.content.others) {
        const box = this.place("chart-other", other.title);
        this.plots.push(new uPlot(this.otherOptions(box, other), other.columns, box));
      }
      this.plots.forEach(followFinger);
      this.showKeys();
      this.readout.newest();
      performance.mark("streamgauge:drawn");
    }

    // The key names what is there to be seen, and nothing else.
    showKeys() {
      const { level, marks, raw, forecast, anomaly } = this.content;
      const isThere = {
        expected: level[LOW].some((value) => value !== null),
        forecast: Boolean(forecast),
        anomalous: marks.some((mark) => mark.score >= anomaly && mark.surprise !== "fault"),
        fault: marks.some((mark) => mark.surprise === "fault"),
        suspect: marks.some((mark) => mark.flag === "suspect"),
        failed: marks.some((mark) => mark.flag === "fail"),
        raw: raw.length > 0,
      };
      for (const key of this.root.parentElement.querySelectorAll("[data-key]")) key.hidden = !isThere[key.dataset.key];
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

    levelData() {
      const columns = this.content.level;
      return [columns[TIME], columns[LOW], columns[HIGH], columns[EXPECTED], columns[LEVEL]];
    }

    frame(box) {
      return frame(box, this.content.zone, {
        sync: { key: "station" },
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => this.handlers.back() },
      });
    }

    levelOptions(box) {
      const accent = token("accent");
      const edge = { stroke: null, width: 0, points: { show: false } };
      return {
        ...this.frame(box),
        scales: { x: { range: () => [this.content.start, this.content.end] }, y: { range: () => this.content.span } },
        axes: axes(this.content.zone, 2),
        series: [
          {},
          edge,
          edge,
          { stroke: token("muted"), width: 1, points: { show: false } },
          { stroke: accent, width: 2, points: { size: 5, fill: accent, stroke: accent, width: 0, filter: lonely } },
        ],
        bands: [{ series: [2, 1], fill: faint(accent) }],
        hooks: {
          drawAxes: [(plot) => drawStages(plot, this.content), (plot) => this.drawForecast(plot)],
          draw: [(plot) => drawMarks(plot, this.content), (plot) => this.drawNow(plot), (plot) => drawStageNames(plot, this.content)],
          setCursor: [(plot) => this.tellCursor(plot)],
          setSelect: [(plot) => selected(plot, this.handlers.zoom)],
        },
      };
    }

    otherOptions(box, other) {
      return {
        ...this.frame(box),
        scales: { x: { range: () => [this.content.start, this.content.end] } },
        axes: axes(this.content.zone, 0),
        series: [{}, { stroke: token("muted"), width: 1.5, points: { size: 5, fill: token("muted"), width: 0, filter: lonely } }],
        hooks: { setSelect: [(plot) => selected(plot, this.handlers.zoom)] },
        name: other.name,
      };
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
      if (this.content.forecast) {
        ctx.font = font(11);
        ctx.fillStyle = token("muted");
        ctx.textAlign = "right";
        ctx.textBaseline = "alphabetic";
        ctx.fillText(say("now"), x - 4 * devicePixelRatio, bbox.top + bbox.height - 6 * devicePixelRatio);
      }
      ctx.restore();
    }

    // What is expected: dashed beyond the newest reading, its band as a soft fill. An old one is faded: it is not kept up.
    drawForecast(plot) {
      const { forecast } = this.content;
      if (!forecast) return;
      const { ctx, bbox } = plot;
      const place = (point, column) => [plot.valToPos(point[AT], "x", true), plot.valToPos(point[column], "y", true)];
      const { points } = forecast;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      if (now() / 1000 - forecast.issued > forecast.limit) ctx.globalAlpha = FADED;
      ctx.fillStyle = faint(token("accent"));
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

    // A forecast that has just been made, as the live stream has it. The axis only ever grows for it.
    setForecast(made) {
      const issued = Date.parse(made.issued_at) / 1000;
      const { forecast, follows, range, factor } = this.content;
      if (forecast ? issued < forecast.issued : !(follows && range)) return;
      const base = made.baseline_m * factor;
      const points = made.horizons.map((h) => [issued + h.horizon_s, h.expected_m * factor, h.low_m * factor, h.high_m * factor, h.method]);
      const limit = forecast?.limit ?? Number(document.getElementById("head").dataset.silence);
      this.content.forecast = { issued, limit, points: [[issued, base, base, base, "model"], ...points] };
      for (const point of points.filter((one) => one[AT] <= this.content.end)) {
        this.widen(this.near(point[AHEAD], AHEAD_SHARE));
        [point[LEAST], point[MOST]].forEach((value) => this.widen(this.near(value, BAND_SHARE)));
      }
    }

    tellCursor(plot) {
      const { left, idx } = plot.cursor;
      if (left == null || left < 0 || idx == null) return this.readout.newest();
      const ahead = this.pointAhead(plot.posToVal(left, "x"));
      if (ahead) return this.readout.ahead(ahead);
      const mark = this.markNear(plot, left);
      if (mark) return this.readout.point(mark.time, mark.level, mark);
      this.readout.at(idx);
    }

    // Moves the crosshair to the point before or after; where there was none, from the newest one.
    step(by) {
      const [plot] = this.plots;
      const levels = this.content.level[LEVEL];
      let index = plot.cursor.idx ?? levels.length;
      do index += by;
      while (levels[index] === null);
      if (!(index in levels)) return;
      plot.setCursor({ left: plot.valToPos(this.content.level[TIME][index], "x"), top: plot.valToPos(levels[index], "y") });
    }

    // The nearest horizon, where the crosshair stands beyond the newest reading.
    pointAhead(seconds) {
      const times = this.content.level[TIME];
      const { forecast } = this.content;
      const points = forecast?.points.slice(1) ?? [];
      if (!points.length || seconds <= Math.max(times.at(-1) ?? 0, forecast.issued)) return null;
      return points.reduce((best, point) => (Math.abs(point[AT] - seconds) < Math.abs(best[AT] - seconds) ? point : best));
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

    // A reading that has just been stored, or whose verdict has just changed.
    add(reading) {
      const seconds = Date.parse(reading.time) / 1000;
      if (seconds < this.content.start) return;
      const counts = (name) => counting(this.content.corrections, name, seconds, reading[name] ?? null, (reading.flags || {})[name] ?? 9);
      const { value: level_m, flag } = counts("level_m");
      const scaled = (value) => (value == null ? null : value * this.content.factor);
      const [level, expected, low, high] = [level_m, reading.expected_m, reading.low_m, reading.high_m].map(scaled);
      if (level_m !== null) this.putRaw(seconds, level_m, reading.level_m);
      this.put(this.content.level, seconds, [flag === 4 ? null : level, expected, low, high]);
      if (level !== null) this.putMark(seconds, level, flag, reading.score ?? null, reading.surprise ?? "", reading.reasons?.score);
      for (const other of this.content.others) {
        const counted = counts(other.name);
        if (counted.value !== null) this.put(other.columns, seconds, [counted.flag === 4 ? null : counted.value * other.factor + other.offset]);
      }
      if (flag === 4 || level === null) return;
      const [lowest, highest] = this.content.span;
      const isWild = flag === 3 && (level - highest > 3 * (highest - lowest) || lowest - level > 3 * (highest - lowest));
      if (!isWild) this.widen(level);
      [low, high].forEach((value) => this.widen(this.near(value, BAND_SHARE)));
    }

    put(columns, seconds, values) {
      const times = columns[TIME];
      const at = indexOf(times, seconds);
      if (times[at] === seconds) {
        values.forEach((value, index) => (columns[index + 1][at] = value));
        return;
      }
      columns[TIME].splice(at, 0, seconds);
      values.forEach((value, index) => columns[index + 1].splice(at, 0, value));
      mendGaps(columns, at, this.settled.get(columns));
    }

    // What the sensor said, where a correction met it.
    putRaw(time, level_m, raw_m) {
      const raw = this.content.raw.filter((pair) => pair[0] !== time);
      if (raw_m !== level_m) raw.push([time, raw_m * this.content.factor]);
      this.content.raw = raw;
    }

    putMark(time, level, flag, score, surprise, reason) {
      const marks = this.content.marks.filter((mark) => mark.time !== time);
      const key = flag === 4 ? "fail" : flag === 3 ? "suspect" : "good";
      const isAnomalous = score !== null && score >= this.content.anomaly;
      if (key !== "good" || isAnomalous) {
        const word = surprise ? say(`surprise.${surprise}`) : "";
        const said = this.because(reason);
        const why = said ? `${word}: ${said}` : word;
        marks.push({ time, level, flag: key, score, surprise, why, text: key === "good" ? "" : say(`flag.${key}`) });
      }
      this.content.marks = marks;
    }

    because(reason) {
      return because(reason);
    }

    // The axis is for the water: what is expected counts as far as a share of the water's own span beyond it.
    near(value, share) {
      const levels = this.content.level[LEVEL].filter((level) => level !== null);
      if (value == null || !levels.length) return null;
      const [low, high] = [levels.reduce((a, b) => Math.min(a, b)), levels.reduce((a, b) => Math.max(a, b))];
      const room = share * Math.max(LEAST_SPAN_M * this.content.factor, high - low);
      return Math.min(high + room, Math.max(low - room, value));
    }

    // The axis grows when the water leaves it, and never shrinks while one looks.
    widen(value) {
      if (value == null) return;
      const [low, high] = this.content.span;
      const room = (high - low) * SPAN_MARGIN;
      if (value > high) this.content.span = [low, value + 2 * room];
      if (value < low) this.content.span = [value - 2 * room, high];
    }

    // Shows what add() has taken, and moves on if this window follows the time.
    update() {
      const columns = this.content.level;
      if (this.content.follows && this.content.range) {
        const length = this.content.end - this.content.start;
        this.content.end = Math.max(this.content.end, now() / 1000 + (this.content.forecast ? this.content.ahead : 0));
        if (this.content.range !== "all") this.content.start = this.content.end - length;
      }
      if (columns[TIME].length > MOST_POINTS) return this.handlers.stale();
      this.plots[0].setData(this.levelData());
      this.content.others.forEach((other, index) => this.plots[index + 1].setData(other.columns));
      this.showKeys();
      this.tellCursor(this.plots[0]);
    }
  };
})();
