/** The page, opened in a real browser. */
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import type { BrowserContext, Page } from "playwright-core";
import type { ActionRecord, RequestRecord } from "../records.ts";
import { MAX_SAMPLE } from "./action_stats.ts";
import { type BrowserOptions, hasChromium, PHONE, pixels, withBrowser } from "./browser_testing.ts";
import { generateLoad } from "./generate.ts";
import { makePage } from "./page.ts";
import { makeReport, readLogs } from "./report.ts";
import { actionLog, memoryFile, requestLog } from "./testing.ts";

/** A page of `requests` generated requests, and the actions that it is of. */
function generatedPage(requests: number, requestsPerS: number) {
  const records: { requests: RequestRecord[]; actions: ActionRecord[] } = {
    requests: [],
    actions: [],
  };
  generateLoad(
    { seed: 5, requests, gpus: 2, models: 20, requestsPerS },
    (record) => records.requests.push(record),
    (record) => records.actions.push(record),
  );
  return { html: pageOf(records), ...records };
}

function pageOf(
  records: { readonly requests: RequestRecord[]; readonly actions: ActionRecord[] },
): string {
  const stats = readLogs({
    requests: [memoryFile("requests", requestLog(records.requests))],
    actions: [memoryFile("actions", actionLog(records.actions))],
  });
  return makePage(makeReport(stats), stats);
}

/** Opens pages in a browser of their own, and checks at the end that none complained. */
async function inBrowser(
  test: (open: (html: string) => Promise<Page>, context: BrowserContext) => Promise<void>,
  options: BrowserOptions,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  const complaints: string[] = [];
  try {
    await withBrowser(directory, options, (context) =>
      test(async (html) => {
        const path = `${directory}/report.html`;
        await Deno.writeTextFile(path, html);
        const page = await context.newPage();
        page.on("console", (message) => complaints.push(message.text()));
        page.on("pageerror", (error) => complaints.push(error.message));
        page.on("request", (request) => {
          const url = request.url();
          if (!url.startsWith("file:") && !url.startsWith("data:")) complaints.push(`asked ${url}`);
        });
        await page.goto(pathToFileURL(path).href);
        return page;
      }, context));
    assert.deepEqual(complaints, []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function browserTest(
  name: string,
  test: (open: (html: string) => Promise<Page>, context: BrowserContext) => Promise<void>,
  options: BrowserOptions = {},
): void {
  Deno.test({
    name,
    ignore: !hasChromium,
    // Playwright keeps timers and a pipe of its own until the process ends.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: () => inBrowser(test, options),
  });
}

interface View {
  readonly min: number;
  readonly max: number;
}

/** What of the timeline is in view, in seconds, once a frame has passed. */
function viewOf(page: Page): Promise<View> {
  return page.evaluate(`new Promise((resolve) => requestAnimationFrame(() => {
    const { min, max } = clockworkTimeline.scales.x;
    resolve({ min, max });
  }))`);
}

const click = (page: Page, name: string) => page.getByRole("button", { name }).click();

async function boxOf(page: Page, selector: string) {
  const locator = page.locator(selector);
  await locator.scrollIntoViewIfNeeded();
  const box = await locator.boundingBox();
  assert.ok(box !== null);
  return box;
}

browserTest(
  "the page draws its plots, and complains of nothing, in light and dark",
  async (open, context) => {
    const page = await open(generatedPage(4000, 800).html);
    for (const scheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      await viewOf(page);
      for (
        const [plot, colour] of [
          ["latency", "--a"],
          ["latency", "--b"],
          ["rates", "--a"],
          ["prediction", "--a"],
          ["prediction", "--c"],
          ["timeline", "--load"],
        ] as const
      ) {
        const count = await pixels(page, `#${plot} canvas`, colour);
        assert.ok(count > 100, `${count} pixels of ${colour} in ${plot}, ${scheme}`);
      }
    }
    assert.equal(context.pages().length, 2);
  },
);

browserTest("the timeline zooms in to single actions, and tells what each was", async (open) => {
  const { html, requests, actions } = generatedPage(4000, 800);
  const page = await open(html);
  const whole = await viewOf(page);
  assert.equal(whole.min, 0);

  await click(page, "zoom in");
  const half = await viewOf(page);
  assert.ok(Math.abs((half.max - half.min) / (whole.max / 2) - 1) < 1e-9);
  await click(page, "earlier");
  assert.ok((await viewOf(page)).min < half.min);
  await click(page, "zoom out");
  await click(page, "show the whole time");
  assert.deepEqual(await viewOf(page), whole);

  // A drag takes what it covers.
  const over = await boxOf(page, "#timeline .u-over");
  await page.mouse.move(over.x + 0.25 * over.width, over.y + 20);
  await page.mouse.down();
  await page.mouse.move(over.x + 0.5 * over.width, over.y + 25, { steps: 4 });
  await page.mouse.up();
  const dragged = await viewOf(page);
  assert.ok(Math.abs(dragged.min / whole.max - 0.25) < 0.01, `${dragged.min}`);
  assert.ok(Math.abs(dragged.max / whole.max - 0.5) < 0.01, `${dragged.max}`);

  // Close by, the first GPU's middle inference is where the log has it.
  await click(page, "show the next actions");
  const close = await viewOf(page);
  assert.ok(close.max - close.min <= 0.26);
  const beginNs = Math.min(
    ...requests.map(({ arrivalNs }) => arrivalNs),
    ...actions.map(({ sentNs }) => sentNs),
  );
  const seen = actions.filter((action) => {
    const at = ((action.beginNs + action.endNs) / 2 - beginNs) / 1e9;
    return action.type === 2 && action.action.gpu.gpuId === 0 && at > close.min && at < close.max;
  });
  const one = seen[Math.floor(seen.length / 2)]!;
  const at = ((one.beginNs + one.endNs) / 2 - beginNs) / 1e9;
  const x = over.x + (at - close.min) / (close.max - close.min) * over.width;
  const { y } = await boxOf(page, "#timeline .u-over");
  await page.mouse.move(x, y + 8);
  await page.mouse.move(x, y + 9);
  await viewOf(page);
  const told = await page.locator("#timeline-told").textContent();
  assert.ok(
    told?.startsWith(`W0-GPU0 Infer A${one.actionId} model ${one.action.modelId}, batch `),
    `${told}, not A${one.actionId}`,
  );
});

browserTest(
  "on a phone the page is as wide as the screen, and fingers move and stretch the timeline",
  async (open, context) => {
    const page = await open(generatedPage(3000, 800).html);
    assert.deepEqual(
      await page.evaluate("[document.documentElement.scrollWidth, innerWidth]"),
      [PHONE.width, PHONE.width],
    );
    const { x, y, width } = await boxOf(page, "#timeline .u-over");
    const devtools = await context.newCDPSession(page);
    const touch = (type: string, ...places: number[]) =>
      devtools.send("Input.dispatchTouchEvent", {
        type: type as "touchStart",
        touchPoints: places.map((part, id) => ({ x: x + part * width, y: y + 30, id })),
      });
    const whole = await viewOf(page);
    await touch("touchStart", 0.4, 0.6);
    await touch("touchMove", 0.3, 0.7);
    await touch("touchMove", 0.2, 0.8);
    await touch("touchEnd");
    const stretched = await viewOf(page);
    const part = (stretched.max - stretched.min) / (whole.max - whole.min);
    assert.ok(part > 0.25 && part < 0.6, `${part}`);
    await touch("touchStart", 0.5);
    await touch("touchMove", 0.4);
    await touch("touchMove", 0.3);
    await touch("touchEnd");
    const moved = await viewOf(page);
    assert.ok(moved.min > stretched.min, `${moved.min}`);
    assert.ok(Math.abs(moved.max - moved.min - (stretched.max - stretched.min)) < 1e-9);
  },
  { touch: true, viewport: PHONE },
);

browserTest("a page of no requests and no actions says so", async (open) => {
  const page = await open(pageOf({ requests: [], actions: [] }));
  assert.equal(await page.getByText("Nothing to show.").count(), 4);
  assert.equal(await page.getByText("no request was logged.").count(), 1);
});

Deno.test("a page holds all that it needs, uPlot with its licence, and nothing that a log may break out by", () => {
  const stats = readLogs({
    requests: [memoryFile("</script><b>r", requestLog([]).slice(0, -1))],
    actions: [],
  });
  const html = makePage(makeReport(stats), stats);
  assert.ok(html.includes("/*! https://github.com/leeoniya/uPlot (v1.6.32) */"));
  assert.ok(html.includes("Copyright (c) 2022 Leon Sorokin"));
  assert.ok(html.includes("Permission is hereby granted, free of charge"));
  assert.equal(html.split("</script").length, html.split("<script").length);
  assert.ok(html.includes("&lt;/script&gt;&lt;b&gt;r is cut short"));
  assert.equal(/(src|href)="(?!data:,)/.exec(html), null);
});

Deno.test("the page's size does not grow with the logs without limit", () => {
  const [few, many] = [generatedPage(60_000, 300), generatedPage(150_000, 300)];
  const sampled = (html: string) =>
    JSON.parse(/id="data">(.*?)<\/script>/.exec(html)![1]!).timeline.actions.id.length;
  for (const { html, actions } of [few, many]) {
    assert.ok(actions.length > MAX_SAMPLE);
    assert.ok(sampled(html) <= MAX_SAMPLE && sampled(html) > MAX_SAMPLE / 8, `${sampled(html)}`);
    assert.ok(html.length < 2.5e6, `${html.length}`);
  }
});
