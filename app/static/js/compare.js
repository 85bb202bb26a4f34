// Several stations on one time axis: each on its own y-axis, on one, or as the difference from its mean.
"use strict";

(() => {
  const { number, now, token, font, moment, axes, frame, fit, lonely, selected, followFinger, redraws, hasPhoneWidth } = window.streamgauge;
  // As templates/stations/_lines.html has them: colour, width, dashes. No line is told by its colour alone.
  const STYLES = [
    ["accent", 2.5, []],
    ["text", 1.25, []],
    ["text", 1.75, [9, 4]],
    ["text", 1.75, [2, 3]],
    ["muted", 3, [9, 3, 2, 3]],
    ["accent", 1.75, [14, 5]],
  ];
  const part = document.getElementById("compare");
  let shown = null;
  let content = null;
  let plots = [];

  // In the user's units, and for a comparison of differences from each one's mean.
  function levelsOf(station) {
    const base = content.mode === "mean" ? (station.mean ?? 0) : 0;
    return station.columns[1].map((value) => (value === null ? null : (value - base) * content.factor));
  }

  function series(place) {
    const [colour, width, dash] = STYLES[place];
    return { stroke: token(colour), width, dash, points: { show: false, size: 6, fill: token(colour), width: 0, filter: lonely } };
  }

  // The letter of each line stands at its end.
  function drawLetters(plot, letters) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.font = font(12, 700);
    ctx.textAlign = "right";
    ctx.textBaseline = "bottom";
    ctx.lineJoin = "round";
    ctx.lineWidth = 3 * devicePixelRatio;
    letters.forEach((letter, place) => {
      const values = plot.data[place + 1];
      let last = values.length - 1;
      while (last >= 0 && values[last] == null) last -= 1;
      if (last < 0) return;
      const x = Math.min(plot.valToPos(plot.data[0][last], "x", true), bbox.left + bbox.width) - 3 * devicePixelRatio;
      const y = plot.valToPos(values[last], "y", true) - 3 * devicePixelRatio;
      ctx.strokeStyle = token("raised");
      ctx.strokeText(letter, x, y);
      ctx.fillStyle = token("text");
      ctx.fillText(letter, x, y);
    });
    ctx.restore();
  }

  function options(box, places) {
    const letters = places.map((place) => content.stations[place].letter);
    return {
      ...frame(box, content.zone, { sync: { key: "compare" }, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => () => history.back() } }),
      scales: { x: { range: () => [content.start, content.end] } },
      axes: axes(content.zone, 2),
      series: [{}, ...places.map(series)],
      hooks: {
        draw: [(plot) => drawLetters(plot, letters)],
        setCursor: [(plot) => plot.cursor.event && tell(plot)],
        setSelect: [(plot) => selected(plot, zoom)],
      },
    };
  }

  function zoom(from, to) {
    const query = new URLSearchParams(location.search);
    query.delete("range");
    query.set("from", new Date(from * 1e3).toISOString());
    query.set("to", new Date(to * 1e3).toISOString());
    const path = `${location.pathname}?${query}`;
    htmx.ajax("GET", path, { target: "#compare", swap: "innerHTML" }).then(() => history.pushState({}, "", path));
  }

  function nearest(times, values, seconds) {
    let best = null;
    for (let index = 0; index < times.length; index += 1) {
      if (values[index] !== null && (best === null || Math.abs(times[index] - seconds) < Math.abs(times[best] - seconds))) best = index;
    }
    return best;
  }

  function tell(plot) {
    const readout = document.getElementById("readout");
    if (plot.cursor.left == null || plot.cursor.left < 0) return (readout.textContent = "");
    const seconds = plot.posToVal(plot.cursor.left, "x");
    const parts = content.stations.flatMap((station) => {
      const [times, levels] = [station.columns[0], levelsOf(station)];
      const index = nearest(times, levels, seconds);
      return index === null ? [] : [`${station.letter} ${number(levels[index], 2)} ${content.unit}`];
    });
    readout.textContent = [moment(content.zone, seconds, now()), ...parts].join("  ·  ");
  }

  function place(root, kind) {
    const box = document.createElement("div");
    box.className = kind;
    root.append(box);
    return box;
  }

  function draw() {
    plots.forEach((plot) => plot.destroy());
    plots = [];
    const root = document.getElementById("chart");
    if (!root || !content) return;
    root.replaceChildren();
    if (content.mode === "own") {
      content.stations.forEach((station, index) => {
        const heading = document.createElement("p");
        heading.className = "mt-2 text-sm text-muted";
        heading.textContent = `${station.letter}  ${station.title}`;
        root.append(heading);
        const box = place(root, "compare-own");
        plots.push(new uPlot(options(box, [index]), [station.columns[0], levelsOf(station)], box));
      });
    } else {
      const box = place(root, hasPhoneWidth() ? "chart-level" : "compare-together");
      const tables = content.stations.map((station) => [station.columns[0], levelsOf(station)]);
      plots.push(new uPlot(options(box, content.stations.map((_, index) => index)), uPlot.join(tables), box));
    }
    plots.forEach(followFinger);
  }

  function show() {
    const source = document.getElementById("chart-data");
    if (!source || source === shown) return;
    shown = source;
    content = JSON.parse(source.textContent);
    draw();
  }

  new ResizeObserver(() => fit(plots)).observe(part);
  redraws.add(draw);
  document.addEventListener("htmx:afterSettle", show);
  window.addEventListener("popstate", () => location.reload());
  window.streamgauge.compared = () => ({ content, plots });
  show();
})();
