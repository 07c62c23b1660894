/** For tests of pages: a real browser, and what is seen in it. */
import type { BrowserContext, Page } from "playwright-core";

const CHROMIUM = "/usr/bin/chromium";
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
export const DESKTOP = { width: 1000, height: 800 };
export const PHONE = { width: 360, height: 700 };

export interface BrowserOptions {
  readonly touch?: boolean;
  readonly viewport?: typeof DESKTOP;
}

/** Whether there is a browser to test in. */
export const hasChromium = (() => {
  try {
    return Deno.statSync(CHROMIUM).isFile;
  } catch {
    return false;
  }
})();
if (!hasChromium) console.warn(`The tests of the page are skipped: there is no ${CHROMIUM}`);

/** Playwright asks in /proc whether this is Windows in disguise, which the tests' permissions do not allow. */
async function loadPlaywright() {
  Deno.env.set("__IS_WSL_TEST__", "1");
  try {
    return await import("playwright-core");
  } finally {
    Deno.env.delete("__IS_WSL_TEST__");
  }
}

/** Opens a browser with a profile of its own in `directory`, and closes it after the test. */
export async function withBrowser(
  directory: string,
  { touch = false, viewport = DESKTOP }: BrowserOptions,
  test: (context: BrowserContext) => Promise<void>,
): Promise<void> {
  const { chromium } = await loadPlaywright();
  const context = await chromium.launchPersistentContext(`${directory}/profile`, {
    executablePath: CHROMIUM,
    headless: true,
    args: FLAGS,
    viewport,
    hasTouch: touch,
    colorScheme: "light",
  });
  try {
    await test(context);
  } finally {
    await context.close();
  }
}

/** How many pixels of a canvas have about this colour: one of the style sheet, as `--a`, or any of CSS. */
export function pixels(page: Page, selector: string, colour: string): Promise<number> {
  return page.evaluate(`(() => {
    const canvas = document.querySelector("${selector}");
    const read = { willReadFrequently: true };
    const probe = document.createElement("canvas").getContext("2d", read);
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", read);
    copy.drawImage(canvas, 0, 0);
    probe.fillStyle = "${colour}".startsWith("--")
      ? getComputedStyle(document.documentElement).getPropertyValue("${colour}")
      : "${colour}";
    probe.fillRect(0, 0, 1, 1);
    const want = probe.getImageData(0, 0, 1, 1).data;
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 3] > 150 && [0, 1, 2].every((c) => Math.abs(data[i + c] - want[c]) < 12)) count++;
    }
    return count;
  })()`);
}
