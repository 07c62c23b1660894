/** The dashboard in a real browser, of a real gateway, controller and worker. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import {
  type BrowserOptions,
  hasChromium,
  PHONE,
  pixels,
  withBrowser,
} from "../telemetry/report/browser_testing.ts";
import { freePort } from "./demo/processes.ts";
import { HOST, type Process, Processes } from "./testing.ts";

/** The machine may be busy: waiting costs nothing where it is not. */
const PATIENCE_MS = 40_000;
const TOKEN = "0123456789abcdef0123456789abcdef";

interface Setup {
  readonly processes: Processes;
  readonly worker: { readonly address: string };
  readonly controller: Process;
  /** Starts a controller where the first one was. */
  readonly startController: () => Promise<Process>;
  readonly controllerAddress: string;
  readonly url: string;
  readonly open: () => Promise<Page>;
}

/** A cluster with a gateway, and a browser; nothing that a page does may be complained of. */
function dashboardTest(
  name: string,
  test: (setup: Setup) => Promise<void>,
  { token = "", ...browser }: BrowserOptions & { readonly token?: string } = {},
): void {
  Deno.test({
    name,
    ignore: !hasChromium,
    // Playwright keeps timers and a pipe of its own until the process ends.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      await using processes = new Processes();
      const worker = await processes.worker(["worker-dummy", "-n", "2"]);
      const port = freePort();
      const startController = async () => {
        const where = ["--host", HOST, "-p", `${port}`, "--default-slo", `${30e9}`];
        const controller = processes.start(["controller", "INFER4", worker.address, ...where]);
        await controller.printed("(Startup-3)");
        return controller;
      };
      const controller = await startController();
      const controllerAddress = `${HOST}:${port}`;
      const http = freePort();
      const gateway = processes.start(["gateway", controllerAddress, "--port", `${http}`], {
        CLOCKWORK_HTTP_TOKEN: token,
      });
      await gateway.printed("Connected to the controller");
      const url = `http://${HOST}:${http}/`;
      const directory = await Deno.makeTempDir();
      const complaints: string[] = [];
      try {
        await withBrowser(directory, browser, async (context) => {
          const open = async () => {
            const page = await context.newPage();
            page.setDefaultTimeout(PATIENCE_MS);
            page.on("pageerror", (error) => complaints.push(error.message));
            page.on("console", (message) => {
              // That a load or a token was refused is said by the browser, too.
              if (!/status of 40\d/.test(message.text())) complaints.push(message.text());
            });
            page.on("request", (request) => {
              const asked = request.url();
              if (!asked.startsWith(url) && !asked.startsWith("data:")) {
                complaints.push(`asked ${asked}`);
              }
            });
            page.on("dialog", (dialog) => dialog.accept());
            await page.goto(url);
            return page;
          };
          const setup = { worker, controller, startController, controllerAddress, url, open };
          await test({ ...setup, processes });
        });
        assert.deepEqual(complaints, []);
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    },
  });
}

/** Resolves when a figure is as wanted. */
async function figure(page: Page, label: string, wanted: (value: number) => boolean) {
  const cell = page.locator(".figures div", { has: page.locator("dt", { hasText: label }) });
  await until(async () => wanted(parseFloat(await cell.locator("dd").innerText())));
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!await holds()) {
    assert.ok(performance.now() < endMs, "it does not come");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const load = async (page: Page, model: string, copies = 1) => {
  await page.getByLabel("model to load").fill(model);
  await page.getByLabel("copies").fill(`${copies}`);
  await page.getByRole("button", { name: "Load", exact: true }).click();
};
const told = (page: Page, text: string) =>
  page.locator("#action-told", { hasText: text }).waitFor();
const badge = (page: Page, text: string) => page.locator("#state", { hasText: text }).waitFor();

/** A client that asks for one model again and again, until the processes end. */
function someLoad({ processes, controllerAddress }: Setup): Process {
  const workload = ["simple-parametric", "1", "1", "2", "1000000"];
  return processes.start(["client", controllerAddress, ...workload], {
    CLOCKWORK_DISABLE_INPUTS: "1",
  });
}

dashboardTest(
  "the dashboard shows what the cluster does, live, in light and dark",
  async (setup) => {
    const page = await setup.open();
    await figure(page, "goodput", (value) => value === 0);
    const client = someLoad(setup);
    await badge(page, "serving");
    await figure(page, "goodput", (value) => value > 0);
    await page.locator("#models tr", { hasText: "resnet50_v2" }).waitFor();
    assert.equal(await page.locator("#gpus tr").count(), 2);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      // The legend as the plot. The first row is that of the time.
      const marker = `document.querySelector("#rates .u-series:nth-child(2) .u-marker")`;
      assert.equal(
        await page.evaluate(`getComputedStyle(${marker}).backgroundColor`),
        colorScheme === "light" ? "rgb(37, 99, 201)" : "rgb(110, 168, 255)",
      );
      await until(async () => await pixels(page, "#rates canvas", "--a") > 50);
      await until(async () => await pixels(page, "#latency canvas", "--b") > 20);
      await page.locator("#timeline").scrollIntoViewIfNeeded();
      // Outlines of plans, and what there was of them, in the colour of model 0.
      await until(async () => await pixels(page, "#timeline", "--faint") > 50);
    }
    // A paused timeline tells what is pointed at.
    await page.selectOption("#timeline-span", "2");
    await until(async () => {
      const box = (await page.locator("#timeline").boundingBox())!;
      for (let part = 0.2; part < 1; part += 0.05) {
        await page.mouse.move(box.x + part * box.width, box.y + 12);
        const text = await page.locator("#timeline-told").textContent();
        if (
          /^Infer A\d+ of model \d+ \(resnet50_v2\), batch \d: took 3\.30 ms, planned 3\.30 ms; ended/
            .test(text!)
        ) {
          return true;
        }
      }
      return false;
    });
    client.kill();
    await figure(page, "goodput", (value) => value === 0);
  },
);

dashboardTest(
  "the dashboard says that the controller is away, and goes on with the next",
  async (setup) => {
    const page = await setup.open();
    const client = someLoad(setup);
    await figure(page, "goodput", (value) => value > 0);
    client.kill();
    setup.controller.kill();
    await badge(page, "the controller is away");
    await page.locator("body.away").waitFor();
    await setup.startController();
    await badge(page, "initializing");
    await page.locator("body:not(.away)").waitFor();
    await figure(page, "models", (value) => value === 0);
    someLoad(setup);
    await badge(page, "serving");
    await figure(page, "goodput", (value) => value > 0);
  },
);

dashboardTest(
  "models are loaded and unloaded from the page, and texts stay texts",
  async (setup) => {
    const page = await setup.open();
    await load(page, "<img src=x onerror=alert(1)>");
    await told(page, "<img src=x onerror=alert(1)>");
    assert.equal(await page.locator("main img").count(), 0);
    await load(page, "resnet18", 3);
    await told(page, "resnet18 has 3 copies now.");
    await figure(page, "models", (value) => value === 3);
    await page.getByLabel("filter models").fill("nothing");
    await until(async () => await page.locator("#models tr").count() === 0);
    await page.getByLabel("filter models").fill("Resnet");
    await page.getByRole("button", { name: "unload" }).click();
    await told(page, "resnet18 has 0 copies now.");
    await figure(page, "models", (value) => value === 0);
  },
);

dashboardTest("a token is asked for in the page, and kept for its tab", async (setup) => {
  const page = await setup.open();
  const field = page.getByLabel("token", { exact: true });
  await field.waitFor();
  assert.equal(await page.locator("#figures div").count(), 0);
  await field.fill("fedcba9876543210");
  await page.getByRole("button", { name: "Use it" }).click();
  await page.getByText("The token is not the right one.").waitFor();
  await field.fill(TOKEN);
  await page.getByRole("button", { name: "Use it" }).click();
  await badge(page, "initializing");
  await field.waitFor({ state: "hidden" });
  await load(page, "resnet18");
  await told(page, "resnet18 has 1 copy now.");
  await page.reload();
  await figure(page, "models", (value) => value === 1);
}, { token: TOKEN });

dashboardTest("on a phone the dashboard is as wide as the screen", async (setup) => {
  const page = await setup.open();
  someLoad(setup);
  await figure(page, "goodput", (value) => value > 0);
  await page.locator("#models tr").first().waitFor();
  assert.deepEqual(
    await page.evaluate("[document.documentElement.scrollWidth, innerWidth]"),
    [PHONE.width, PHONE.width],
  );
  // Tables are wider: whose row it is stays in sight when they are moved, and how it does is seen at once.
  const left = (place: string) =>
    page.evaluate(`document.querySelector("#models ${place}").getBoundingClientRect().left`);
  const share = page.locator("#models-head th", { hasText: "in time" });
  const { x, width } = (await share.boundingBox())!;
  assert.ok(x + width <= PHONE.width);
  const first = await left("td");
  const last = await left("td:last-child") as number;
  await page.evaluate(`document.querySelector("#models").closest(".scroll").scrollLeft = 1000`);
  assert.ok(await left("td:last-child") as number < last);
  assert.equal(await left("td"), first);
}, { viewport: PHONE, touch: true });
