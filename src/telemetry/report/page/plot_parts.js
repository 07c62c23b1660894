// deno-lint-ignore-file no-unused-vars -- what is declared here is used by the scripts after it
/**
 * What plots of all pages have in common: colours of the style sheet, axes, and that they are as wide as
 * their place. A classic script: what it declares is seen by those after it, modules included. `uPlot` is
 * declared by the one before it.
 */
"use strict";

/** All plots, to be drawn again when colours or width change. */
const plots = [];

/** A colour of the page's style sheet; asked for at each drawing, as it may change to dark. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const axis = (more) => ({
  stroke: () => colour("--faint"),
  grid: { stroke: () => colour("--grid"), width: 1 },
  ticks: { stroke: () => colour("--grid"), width: 1 },
  font: "12px system-ui, sans-serif",
  labelFont: "12px system-ui, sans-serif",
  ...more,
});

const series = (label, name, more) => ({
  label,
  colour: name,
  stroke: () => colour(name),
  width: 1.5,
  points: { show: false },
  ...more,
});

/** A legend is made once, before the page may change to dark: its colours are the style sheet's by name. */
const markers = {
  stroke: (plot, i) => `var(${plot.series[i].colour})`,
  fill: (plot, i) => `var(${plot.series[i].colour})`,
};

/** Makes a plot as wide as the page; `makeOptions` gets that width. */
function addPlot(id, height, makeOptions, values) {
  const place = document.getElementById(id);
  const { legend, ...options } = makeOptions();
  const plot = new uPlot(
    { width: place.clientWidth || 300, height, legend: { ...legend, markers }, ...options },
    values,
    place,
  );
  plots.push(plot);
  new ResizeObserver(() => {
    const { clientWidth } = place;
    if (clientWidth > 0 && clientWidth !== plot.width) {
      plot.setSize({ width: clientWidth, height });
    }
  }).observe(place);
  return plot;
}

/** A paler colour for what is below a curve. */
const fill = (name) => () => `color-mix(in srgb, ${colour(name)} 18%, transparent)`;

const number = (value, digits = 3) => value == null ? "–" : String(+value.toPrecision(digits));

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const plot of plots) plot.redraw(false, true);
});
