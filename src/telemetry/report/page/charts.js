/**
 * The plots of distributions and of the load over time. A classic script, after plot_parts.js: what it
 * declares is seen by the one after it.
 */
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

function sayEmpty(id) {
  const text = document.createElement("p");
  text.textContent = "Nothing to show.";
  document.getElementById(id).append(text);
}

/** 2 as "99 %", 3 as "99.9 %": the share of which a tenth to that power is left. */
function shareOf(nines) {
  const percent = 100 * (1 - 10 ** -nines);
  return `${+percent.toFixed(Math.max(0, Math.ceil(nines) - 1))} %`;
}

/**
 * Curves of "how many are at most x". Up goes by tenths of what is left, so that the tail is seen; of n
 * values, the largest is drawn as if one of n + 1 were still left.
 */
function distribution(id, label, { x, series: all }) {
  if (all.length === 0) return sayEmpty(id);
  const names = ["--a", "--b", "--c", "--d"];
  const curves = all.map(({ count, counts }) =>
    counts.map((below) => below === 0 ? null : Math.log10((count + 1) / (count + 1 - below)))
  );
  const highest = Math.max(1, ...all.map(({ count }) => Math.log10(count + 1)));
  addPlot(id, 320, () => ({
    scales: {
      x: { time: false, distr: 3, range: (_, min, max) => [min, max] },
      y: { range: [0, Math.ceil(highest)] },
    },
    axes: [
      axis({
        label,
        labelSize: 18,
        size: 32,
        values: (_, splits) => splits.map((v) => v && number(v, 6)),
      }),
      axis({
        size: 84,
        splits: () => Array.from({ length: Math.ceil(highest) + 1 }, (_, i) => i),
        values: (_, splits) => splits.map(shareOf),
      }),
    ],
    series: [
      { label, value: (_, v) => number(v) },
      ...all.map(({ name }, i) =>
        series(name, names[i], { value: (_, v) => v == null ? "–" : shareExactly(v) })
      ),
    ],
    legend: { live: true },
  }), [x, ...curves]);
}

/** A share in as many digits as its tail needs. */
function shareExactly(nines) {
  return `${(100 * (1 - 10 ** -nines)).toFixed(Math.max(1, Math.ceil(nines)))} %`;
}

function rates({ beginS, widthS, offered, good, bad }) {
  if (offered.length === 0) return sayEmpty("rates");
  const x = offered.map((_, i) => beginS + (i + 0.5) * widthS);
  const perS = (_, v) => v == null ? "–" : `${number(v, 4)} r/s`;
  addPlot("rates", 280, () => ({
    scales: { x: { time: false }, y: { range: (_, min, max) => [0, (max || min || 1) * 1.05] } },
    axes: [axis({ label: "seconds", labelSize: 18, size: 32 }), axis({ size: 56 })],
    series: [
      { label: "at", value: (_, v) => v == null ? "–" : `${number(v, 5)} s` },
      series("offered", "--faint", { value: perS }),
      series("in time", "--a", { value: perS, fill: fill("--a") }),
      series("late or refused", "--bad", { value: perS }),
    ],
  }), [x, offered, good, bad]);
}

distribution("latency", "ms", data.latency);
rates(data.rates);
distribution("prediction", "ms off", data.prediction);
