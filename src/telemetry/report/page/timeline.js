/**
 * What each GPU did, over time. From afar, how busy it was; close by, in the windows of which all actions
 * are in the page, the actions themselves. A classic script, after charts.js.
 */
"use strict";

const ROW_PX = 30;
/** So many actions can be told apart on a screen; more are shown as a share of the time. */
const MAX_DRAWN = 2500;
const MIN_SPAN_S = 0.002;
const INFER = 2;
const typeNames = { 1: "LoadWeights", 2: "Infer", 3: "EvictWeights" };

function timeline(shown) {
  const { gpus, actions, beginS, widthS, endS, originS, periodS, windowS } = shown;
  if (gpus.length === 0) return sayEmpty("timeline");
  const begins = actions.beginUs;
  /** The place of the first action that begins at or after a time. */
  const firstAt = (s) => {
    let low = 0;
    let high = begins.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (begins[middle] < s * 1e6) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  let longestS = 0;
  for (const us of actions.durationUs) longestS = Math.max(longestS, us / 1e6);
  /** The places of the actions that may be seen, or null when they are too many. */
  const visible = (fromS, toS) => {
    const range = [firstAt(fromS - longestS), firstAt(toS)];
    return range[1] - range[0] <= MAX_DRAWN ? range : null;
  };

  function draw(u) {
    const { ctx } = u;
    const ratio = devicePixelRatio;
    const { left, top, width, height } = u.bbox;
    const { min, max } = u.scales.x;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    const px = (s) => left + (s - min) / (max - min) * width;
    const lanes = (gpu) => {
      const y = top + gpu * height / gpus.length;
      const h = height / gpus.length;
      return {
        y,
        h,
        infer: [y + 0.08 * h, 0.54 * h],
        load: [y + 0.66 * h, 0.26 * h],
      };
    };
    const range = visible(min, max);
    for (let gpu = 0; gpu < gpus.length; gpu++) {
      const { y, h, infer, load } = lanes(gpu);
      ctx.fillStyle = colour("--grid");
      ctx.fillRect(left, Math.round(y + h) - 1, width, 1);
      busy(ctx, shown.infer[gpu], infer, colour("--infer"), range !== null);
      busy(ctx, shown.load[gpu], load, colour("--load"), range !== null);
    }
    if (range !== null) {
      eachWindow(min, max, (from, to) => {
        ctx.fillStyle = colour("--card");
        ctx.fillRect(px(from), top, px(to) - px(from), height);
        ctx.fillStyle = colour("--grid");
        for (let gpu = 0; gpu < gpus.length; gpu++) {
          const { y, h } = lanes(gpu);
          ctx.fillRect(px(from), Math.round(y + h) - 1, px(to) - px(from), 1);
        }
      });
      for (let i = range[0]; i < range[1]; i++) drawAction(ctx, i, px, lanes, ratio);
    }
    ctx.restore();

    /** Bars of how busy a GPU was, one a pixel at most; pale where actions are drawn over them. */
    function busy(ctx, percents, [y, h], fill, pale) {
      ctx.fillStyle = fill;
      ctx.globalAlpha = pale ? 0.3 : 0.85;
      const step = Math.max(1, Math.floor((max - min) / widthS / (width / ratio)));
      const first = Math.max(0, Math.floor((min - beginS) / widthS / step) * step);
      for (let i = first; i < percents.length; i += step) {
        const from = beginS + i * widthS;
        if (from > max) break;
        const end = Math.min(i + step, percents.length);
        let sum = 0;
        for (let j = i; j < end; j++) sum += percents[j];
        const part = sum / (end - i) / 100;
        const x = px(from);
        ctx.fillRect(x, y + h * (1 - part), px(from + (end - i) * widthS) - x, h * part);
      }
      ctx.globalAlpha = 1;
    }
  }

  /** Calls back with the part in view of each window of which all actions are here. */
  function eachWindow(min, max, call) {
    if (windowS >= periodS) return call(Math.max(min, beginS), Math.min(max, endS));
    const first = Math.floor((min - originS) / periodS);
    for (let i = first; originS + i * periodS < max; i++) {
      const from = originS + i * periodS;
      call(Math.max(min, from), Math.min(max, from + windowS));
    }
  }

  function place(i, px, lanes) {
    const from = begins[i] / 1e6;
    const x = px(from);
    const w = px(from + actions.durationUs[i] / 1e6) - x;
    const [y, h] = actions.type[i] === INFER ? lanes.infer : lanes.load;
    return { x, y, w, h };
  }

  function drawAction(ctx, i, px, lanesOf, ratio) {
    const { x, y, w, h } = place(i, px, lanesOf(actions.gpu[i]));
    const failed = actions.status[i] !== 0;
    const infer = actions.type[i] === INFER;
    // From green to pink: red and orange are for failures and loads.
    const hue = 90 + actions.model[i] * 137.508 % 240;
    ctx.fillStyle = failed
      ? colour("--bad")
      : infer
      ? `hsl(${hue} 60% 44%)`
      : actions.type[i] === 1
      ? colour("--load")
      : colour("--faint");
    // What takes no time, or failed, is a line.
    ctx.fillRect(x, y, Math.max(w - 0.5 * ratio, (failed ? 2 : 1) * ratio), h);
    if (!infer || w < 26 * ratio) return;
    ctx.fillStyle = "#fff";
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    ctx.fillText(`×${actions.batch[i]}`, x + 4 * ratio, y + h / 2);
  }

  const height = Math.max(120, gpus.length * ROW_PX) + 60;
  const plot = addPlot("timeline", height, () => ({
    scales: { x: { time: false, range: (_, min, max) => [min, max] }, y: { range: [0, 1] } },
    axes: [
      axis({
        label: "seconds",
        labelSize: 18,
        size: 32,
        values: (u, splits) => {
          const digits = Math.max(0, Math.ceil(-Math.log10((u.scales.x.max - u.scales.x.min) / 8)));
          return splits.map((v) => v.toFixed(digits));
        },
      }),
      axis({
        size: 84,
        grid: { show: false },
        ticks: { show: false },
        splits: () => gpus.map((_, i) => 1 - (i + 0.5) / gpus.length),
        values: () => gpus,
      }),
    ],
    series: [{}, { show: true, stroke: "transparent", points: { show: false } }],
    legend: { show: false },
    cursor: { drag: { x: true, y: false, dist: 5 }, y: false },
    hooks: { drawSeries: [(u) => draw(u)], setCursor: [tell], setScale: [note] },
  }), [[0, endS], [0, 0]]);

  /** Says which action the pointer is at. */
  function tell(u) {
    const told = document.getElementById("timeline-told");
    const { left, top } = u.cursor;
    if (left == null || left < 0) return;
    const at = u.posToVal(left, "x");
    const gpu = Math.floor(top / u.over.clientHeight * gpus.length);
    const range = visible(u.scales.x.min, u.scales.x.max);
    const reach = 3 * (u.scales.x.max - u.scales.x.min) / u.over.clientWidth;
    const row = top / u.over.clientHeight * gpus.length - gpu;
    let found = -1;
    if (range !== null) {
      for (let i = range[0]; i < range[1]; i++) {
        if (actions.gpu[i] !== gpu || (actions.type[i] === INFER) !== (row < 0.64)) continue;
        const from = begins[i] / 1e6;
        if (at >= from - reach && at <= from + actions.durationUs[i] / 1e6 + reach) found = i;
      }
    }
    if (found < 0) {
      const bin = Math.floor((at - beginS) / widthS);
      const infer = shown.infer[gpu]?.[bin];
      told.textContent = infer === undefined
        ? ""
        : `${gpus[gpu]} at ${at.toFixed(3)} s: inferences ${infer} %, loads ${
          shown.load[gpu][bin]
        } % of ${number(widthS * 1000)} ms`;
      return;
    }
    const ms = (us) => `${number(us / 1000, 4)} ms`;
    const what = actions.status[found] === 0
      ? `${ms(actions.durationUs[found])}, expected ${ms(actions.expectedUs[found])}`
      : `failed with status ${actions.status[found]}`;
    const batch = actions.type[found] === INFER ? ` batch ${actions.batch[found]},` : "";
    told.textContent = `${gpus[gpu]} ${typeNames[actions.type[found]] ?? "action"} ` +
      `A${actions.id[found]} model ${actions.model[found]},${batch} ` +
      `from ${(begins[found] / 1e6).toFixed(4)} s: ${what}`;
  }

  /** Says how much of what is in view is seen closely. */
  function note() {
    const sampled = windowS < periodS
      ? `All actions of ${number(windowS * 1000)} ms in each ${number(periodS)} s are in this page.`
      : "All actions are in this page.";
    const omitted = shown.omitted > 0 ? ` ${shown.omitted} GPUs more are not shown.` : "";
    document.getElementById("timeline-note").textContent = sampled + omitted;
  }

  function view(from, to) {
    const span = Math.min(Math.max(to - from, MIN_SPAN_S), Math.max(endS, MIN_SPAN_S));
    const min = Math.min(Math.max((from + to - span) / 2, 0), Math.max(0, endS - span));
    plot.setScale("x", { min, max: min + span });
  }
  /** Zooms about a place, which is a part of the view's width. */
  function zoom(factor, part = 0.5) {
    const { min, max } = plot.scales.x;
    const at = min + part * (max - min);
    view(at - factor * (at - min), at + factor * (max - at));
  }
  function move(part) {
    const { min, max } = plot.scales.x;
    view(min + part * (max - min), max + part * (max - min));
  }
  /** Shows the next window of which all actions are here, all of it. */
  function nextWindow() {
    const { min, max } = plot.scales.x;
    const middle = (min + max) / 2;
    const i = windowS >= periodS ? 0 : Math.floor((middle - originS) / periodS) + 1;
    let from = originS + i * periodS;
    if (windowS >= periodS || from > endS) from = Math.max(0, originS);
    const width = Math.min(windowS, 0.25);
    view(from, from + width);
  }

  const tools = document.getElementById("timeline-tools");
  const tool = (text, title, act) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: text, title, onclick: act });
    button.setAttribute("aria-label", title);
    tools.append(button);
  };
  tool("+", "zoom in", () => zoom(0.5));
  tool("−", "zoom out", () => zoom(2));
  tool("◀", "earlier", () => move(-0.5));
  tool("▶", "later", () => move(0.5));
  tool("single actions", "show the next actions one by one", nextWindow);
  tool("whole", "show the whole time", () => view(0, endS));

  // A trackpad's pinch comes as a wheel with Ctrl; a wheel alone scrolls the page.
  plot.over.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 0.8 : 1.25, event.offsetX / plot.over.clientWidth);
  }, { passive: false });

  // Fingers: one moves the view, two stretch it.
  const fingers = new Map();
  plot.over.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse") return;
    fingers.set(event.pointerId, event.clientX);
    plot.over.setPointerCapture(event.pointerId);
    const { left, top } = plot.over.getBoundingClientRect();
    plot.setCursor({ left: event.clientX - left, top: event.clientY - top });
  });
  plot.over.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (before === undefined) return;
    const { left, width } = plot.over.getBoundingClientRect();
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, event.clientX);
    if (other === undefined) move((before - event.clientX) / width);
    else {
      const [was, is] = [Math.abs(before - other), Math.abs(event.clientX - other)];
      if (was > 10 && is > 10) zoom(was / is, (other - left) / width);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    plot.over.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  // For whoever inspects the page, and its test.
  globalThis.clockworkTimeline = plot;
}

timeline(data.timeline);
