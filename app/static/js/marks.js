// The points of a chart that its line does not show: suspect, failed, and what was an event or a fault, named where it happened.
"use strict";

(() => {
  const { say, token, hasPhoneWidth } = window.streamgauge;
  const WORDS_APART_PX = 8;

  function drawMarks(plot, content) {
    const { ctx, bbox } = plot;
    const scale = devicePixelRatio * (hasPhoneWidth() ? 0.75 : 1);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.strokeStyle = token("text");
    ctx.lineWidth = 1.5 * scale;
    ctx.font = `${11 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
    drawRaw(plot, content, scale);
    let wordsEnd = -Infinity;
    for (const mark of [...content.marks].sort((a, b) => a.time - b.time)) {
      const x = plot.valToPos(mark.time, "x", true);
      const inside = Math.min(Math.max(mark.level, content.span[0]), content.span[1]);
      const room = 8 * scale;
      const y = Math.min(Math.max(plot.valToPos(inside, "y", true), bbox.top + room), bbox.top + bbox.height - room);
      ctx.fillStyle = token("raised");
      if (mark.surprise === "fault") drawSlashed(ctx, x, y, 6.5 * scale);
      else if (mark.score !== null && mark.score >= content.anomaly) drawDiamond(ctx, x, y, 6.5 * scale);
      if (mark.flag === "fail") drawCross(ctx, x, y, 4 * scale);
      else if (mark.flag === "suspect") drawCircle(ctx, x, y, 3.5 * scale);
      if (mark.surprise === "event" || mark.surprise === "fault") wordsEnd = nameMark(plot, mark, x, y, wordsEnd);
    }
    ctx.restore();
  }

  // What the sensor said where an operator corrected it: hollow, beside the corrected line.
  function drawRaw(plot, content, scale) {
    const { ctx } = plot;
    ctx.save();
    ctx.strokeStyle = token("muted");
    ctx.lineWidth = 1.25 * scale;
    ctx.fillStyle = token("raised");
    for (const [time, level] of content.raw) drawCircle(ctx, plot.valToPos(time, "x", true), plot.valToPos(level, "y", true), 2.75 * scale);
    ctx.restore();
  }

  // The word where it happened; where marks are close together, only the first of them has its word.
  function nameMark(plot, mark, x, y, wordsEnd) {
    const { ctx, bbox } = plot;
    const word = say(`surprise.${mark.surprise}`);
    const width = ctx.measureText(word).width;
    const gap = WORDS_APART_PX * devicePixelRatio;
    const left = Math.min(x + gap * 1.5, bbox.left + bbox.width - width);
    const height = 11 * devicePixelRatio;
    const below = y - bbox.top < 3 * height;
    if (x < wordsEnd + gap) return Math.max(wordsEnd, x + gap * 2);
    ctx.fillStyle = token("text");
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.fillText(word, left, below ? y + 1.6 * height : y - 0.8 * height);
    return left + width;
  }

  function drawSlashed(ctx, x, y, size) {
    ctx.beginPath();
    ctx.arc(x, y, size, 0, 2 * Math.PI);
    ctx.moveTo(x - size * Math.SQRT1_2, y - size * Math.SQRT1_2);
    ctx.lineTo(x + size * Math.SQRT1_2, y + size * Math.SQRT1_2);
    ctx.stroke();
  }

  function drawCross(ctx, x, y, size) {
    ctx.beginPath();
    ctx.moveTo(x - size, y - size);
    ctx.lineTo(x + size, y + size);
    ctx.moveTo(x + size, y - size);
    ctx.lineTo(x - size, y + size);
    ctx.stroke();
  }

  function drawDiamond(ctx, x, y, size) {
    ctx.beginPath();
    ctx.moveTo(x, y - size);
    ctx.lineTo(x + size, y);
    ctx.lineTo(x, y + size);
    ctx.lineTo(x - size, y);
    ctx.closePath();
    ctx.stroke();
  }

  function drawCircle(ctx, x, y, size) {
    ctx.beginPath();
    ctx.arc(x, y, size, 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
  }

  // What operators made of a value that has just come: the newest word on the value and the newest on the flag decide, as on the server.
  function counting(corrections, name, seconds, raw, stored) {
    let [value, flag] = [raw, stored];
    if (raw === null) return { value, flag };
    for (const one of corrections) {
      if (one.name !== name || seconds < one.first || seconds > one.last) continue;
      if (one.flag !== null) flag = one.flag;
      if (one.value !== null) value = one.value;
      else if (one.shift !== null) value = raw + one.shift;
    }
    return { value, flag };
  }

  Object.assign(window.streamgauge, { drawMarks, counting });
})();
