/** The plots over the last minutes. `axis`, `series`, `fill`, `number` and `addPlot` are of plot_parts.js. */

const HEIGHT = 200;

export function makePlots() {
  const common = (unit, scale) => ({
    scales: {
      x: { time: false, range: (_, min, max) => [min, max] },
      y: { range: (_, _min, max) => [0, (max || 1) * 1.08] },
    },
    axes: [
      axis({ size: 32, values: (_, splits) => splits.map((s) => s === 0 ? "now" : `${s} s`) }),
      axis({ size: 56 }),
    ],
    legend: { live: true },
    series: [
      { label: "at", value: (_, v) => v == null ? "–" : `${v} s` },
      ...scale.map(([label, name, more]) =>
        series(label, name, { value: (_, v) => v == null ? "–" : `${number(v)} ${unit}`, ...more })
      ),
    ],
  });
  const empty = [[-1, 0], [null, null], [null, null]];
  const rates = addPlot("rates", HEIGHT, () =>
    common("r/s", [
      ["in time", "--a", { fill: fill("--a") }],
      ["late or refused", "--bad", {}],
    ]), empty);
  const latency = addPlot(
    "latency",
    HEIGHT,
    () => common("ms", [["median", "--a", {}], ["p99", "--b", {}]]),
    empty,
  );
  // For whoever inspects the page, and its test.
  globalThis.clockworkPlots = { rates, latency };

  return (state) => {
    const end = Math.floor(state.nowNs / 1e9);
    const first = Math.min(...state.seconds.keys(), end - 60);
    const [x, good, bad, p50, p99] = [[], [], [], [], []];
    // The present second is not over.
    for (let second = first; second < end; second++) {
      const row = state.seconds.get(second);
      x.push(second - end);
      good.push(row?.in_time ?? 0);
      bad.push((row?.late ?? 0) + (row?.refused ?? 0));
      p50.push(row?.p50_ns > 0 ? row.p50_ns / 1e6 : null);
      p99.push(row?.p99_ns > 0 ? row.p99_ns / 1e6 : null);
    }
    rates.setData([x, good, bad]);
    latency.setData([x, p50, p99]);
  };
}
