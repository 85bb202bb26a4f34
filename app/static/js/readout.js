// The line above a chart that says what the crosshair stands on: time, value, flag, reason, what was expected.
"use strict";

(() => {
  const { say, knows, number, now, moment } = window.streamgauge;
  const [AT, AHEAD, LEAST, MOST, METHOD] = [0, 1, 2, 3, 4];
  const [TIME, LEVEL, , LOW, HIGH] = [0, 1, 2, 3, 4];

  class Readout {
    // element: where it is said; content: of the chart.
    constructor(element, content) {
      this.element = element;
      this.content = content;
    }

    say(parts) {
      this.element.textContent = parts.join("  ·  ");
    }

    level(value, decimals = this.content.factor === 1 ? 3 : 2) {
      return `${number(value, decimals)} ${this.content.unit}`;
    }

    ahead(point) {
      const parts = [this.moment(point[AT]), `${say("forecast")} ${this.level(point[AHEAD], 2)}`, `90 %: ${number(point[LEAST], 2)}–${number(point[MOST], 2)}`];
      if (point[METHOD] === "persistence") parts.push(say("stays"));
      this.say(parts);
    }

    moment(seconds) {
      return moment(this.content.zone, seconds, now());
    }

    at(index) {
      const columns = this.content.level;
      this.point(columns[TIME][index], columns[LEVEL][index], null, columns[LOW][index], columns[HIGH][index]);
    }

    newest() {
      const levels = this.content.level[LEVEL];
      for (let index = levels.length - 1; index >= 0; index -= 1) if (levels[index] !== null) return this.at(index);
      this.say([]);
    }

    point(seconds, level, mark, low = null, high = null) {
      if (level == null) return;
      const parts = [this.moment(seconds), this.level(level)];
      const stage = [...this.content.stages].reverse().find((one) => level >= one.level);
      if (stage) parts.push(stage.name);
      const raw = this.content.raw.find((pair) => pair[0] === seconds);
      if (raw) parts.push(say("raw", { level: this.level(raw[1]) }));
      if (mark?.text) parts.push(mark.text);
      if (mark?.why) parts.push(mark.why);
      if (mark?.score != null) parts.push(`${say("score")} ${number(mark.score, 2)}`);
      if (low != null && high != null) parts.push(`${say("expected")} ${number(low, 3)}–${number(high, 3)}`);
      this.say(parts);
    }
  }

  // Why a reading counts as event or fault, with the sensor that is off where one is: as app/verdict.py says it.
  function because(reason) {
    const key = `why.${reason?.why}`;
    if (!knows(key)) return "";
    if (!reason.channel) return say(key);
    const name = `channel.${reason.channel}`;
    return say("why.with_channel", { why: say(key), channel: knows(name) ? say(name) : reason.channel.replaceAll("_", " ") });
  }

  Object.assign(window.streamgauge, { Readout, because });
})();
