// What was forecast for each time, beside what came and "stays as it is".
"use strict";

(() => {
  const { token, faint, axes, frame, fit, followFinger, redraws } = window.streamgauge;
  const [CAME, EXPECTED, LOW, HIGH, STAYS] = [1, 2, 3, 4, 5];
  let shown = null;
  let plot = null;

  function draw() {
    plot?.destroy();
    plot = null;
    const box = document.getElementById("worth-chart");
    if (!box) return;
    const content = JSON.parse(document.getElementById("worth-data").textContent);
    const [times, ...values] = content.columns;
    const scaled = values.map((column) => column.map((value) => (value === null ? null : value * content.factor)));
    const columns = [times, ...scaled];
    const edge = { stroke: null, width: 0, points: { show: false } };
    const line = (colour, width, dash) => ({ stroke: token(colour), width, dash, points: { show: false } });
    plot = new uPlot(
      {
        ...frame(box, content.zone, { drag: { x: false, y: false } }),
        scales: { x: { range: () => [content.start, content.end] } },
        axes: axes(content.zone, 2),
        series: [{}, edge, edge, line("muted", 1.25, [2, 3]), line("accent", 2), line("text", 1.5, [5, 3])],
        bands: [{ series: [2, 1], fill: faint(token("accent")) }],
      },
      [columns[0], columns[LOW], columns[HIGH], columns[STAYS], columns[CAME], columns[EXPECTED]],
      box,
    );
    followFinger(plot);
  }

  function show() {
    const source = document.getElementById("worth-data");
    if (source === shown) return;
    shown = source;
    draw();
  }

  window.addEventListener("resize", () => plot && fit([plot]));
  redraws.add(draw);
  document.addEventListener("htmx:afterSettle", show);
  show();
})();
