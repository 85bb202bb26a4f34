// The stages of a station behind its level: a band from each one up, its line, and its name at the right edge.
"use strict";

(() => {
  const { token, font, number } = window.streamgauge;
  const BAND_ALPHA = 0.6;
  const NAME_PX = 12;
  const ROOM_PX = 14;

  function drawStages(plot, content) {
    const { stages, span } = content;
    if (!stages.length) return;
    const { ctx, bbox } = plot;
    const [low, high] = span;
    const height = (level) => plot.valToPos(Math.min(Math.max(level, low), high), "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    stages.forEach((stage, index) => {
      if (stage.level >= high) return;
      const top = index + 1 < stages.length ? height(stages[index + 1].level) : bbox.top;
      ctx.globalAlpha = BAND_ALPHA;
      ctx.fillStyle = token(`stage-${stage.severity}-fill`);
      ctx.fillRect(bbox.left, top, bbox.width, height(stage.level) - top);
      ctx.globalAlpha = 1;
      if (stage.level > low) drawLine(plot, stage, height(stage.level));
    });
    ctx.restore();
  }

  function drawLine(plot, stage, y) {
    const { ctx, bbox } = plot;
    ctx.strokeStyle = token(`stage-${stage.severity}`);
    ctx.lineWidth = 1.25 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }

  // Names from the top down, each above its line where there is room; stages out of sight are named at the edge they are beyond.
  // They are drawn last: nothing runs through them.
  function drawStageNames(plot, content) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const [low, high] = content.span;
    const room = ROOM_PX * devicePixelRatio;
    const below = [...content.stages].reverse().find((stage) => stage.level <= low);
    const above = content.stages.find((stage) => stage.level >= high);
    let last = bbox.top - devicePixelRatio;
    if (above) last = name(plot, above, last + room, `↑ ${above.name} ${number(above.level, 2)} ${content.unit}`);
    for (const stage of [...content.stages].reverse()) {
      if (stage.level <= low || stage.level >= high) continue;
      const line = plot.valToPos(stage.level, "y", true);
      const isFree = line - 5 * devicePixelRatio >= last + room;
      // Without room above it, the name stands below its line and never on it.
      last = name(plot, stage, isFree ? line - 5 * devicePixelRatio : Math.max(last, line) + room, `${stage.name} ${number(stage.level, 2)}`);
    }
    if (below) name(plot, below, Math.max(bbox.top + bbox.height - 6 * devicePixelRatio, last + room), `↓ ${below.name} ${number(below.level, 2)} ${content.unit}`);
    ctx.restore();
  }

  function name(plot, stage, y, text) {
    const { ctx, bbox } = plot;
    const x = bbox.left + bbox.width - 6 * devicePixelRatio;
    ctx.font = font(NAME_PX, 600);
    ctx.textAlign = "right";
    ctx.textBaseline = "alphabetic";
    ctx.lineWidth = 3 * devicePixelRatio;
    ctx.lineJoin = "round";
    ctx.strokeStyle = token("raised");
    ctx.strokeText(text, x, y);
    ctx.fillStyle = token(`stage-${stage.severity}`);
    ctx.fillText(text, x, y);
    return y;
  }

  Object.assign(window.streamgauge, { drawStages, drawStageNames });
})();
