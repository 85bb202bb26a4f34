// Where a line is broken while readings come: at a step much longer than those around it, as app/stations/downsample.py does it.
"use strict";

(() => {
  const GAP_STEPS = 3;
  const AROUND = 8;
  const AROUND_LEAST = 2;
  const REACH = 3 * AROUND;

  function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  // The usual step before or after this one, whichever is longer: a change of pace is no gap.
  function isGap(steps, at) {
    const sides = [steps.slice(Math.max(0, at - AROUND), at), steps.slice(at + 1, at + 1 + AROUND)];
    const medians = sides.filter((side) => side.length >= AROUND_LEAST).map(median);
    return steps.length > 1 && steps[at] > GAP_STEPS * (medians.length ? Math.max(...medians) : median(steps));
  }

  // Judges the steps around a row of columns (times, values, …) anew; a row of nulls is a gap. What is not newer than
  // `settled` came with the page, perhaps thinned out, and is left as it is.
  function mendGaps(columns, row, settled) {
    const [times, values] = columns;
    const isBreak = (index) => columns.every((column, place) => place === 0 || column[index] === null);
    let first = row;
    while (first > 0 && times[first - 1] > settled && row - first < REACH) first -= 1;
    let last = Math.min(times.length, row + REACH);
    for (let index = last - 1; index >= first; index -= 1) {
      if (!isBreak(index)) continue;
      columns.forEach((column) => column.splice(index, 1));
      last -= 1;
    }
    const known = [];
    for (let index = Math.max(0, first - REACH); index < Math.min(times.length, last + REACH); index += 1) {
      if (values[index] !== null) known.push(index);
    }
    const steps = known.slice(1).map((index, place) => times[index] - times[known[place]]);
    const gaps = steps.flatMap((_, place) => {
      const end = known[place + 1];
      return end >= first && end < last && isGap(steps, place) ? [end] : [];
    });
    for (const end of gaps.reverse()) {
      const middle = (times[end - 1] + times[end]) / 2;
      columns.forEach((column, place) => column.splice(end, 0, place ? null : middle));
    }
  }

  Object.assign(window.streamgauge, { mendGaps });
})();
