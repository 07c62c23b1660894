import assert from "node:assert/strict";
import { join } from "node:path";
import { adapterCheck } from "./gpu_checks.ts";
import type { Check } from "./check.ts";
import { clusterChecks } from "./cluster_checks.ts";
import type { Machine } from "./machine.ts";
import { describeChecks } from "./print.ts";
import { systemChecks } from "./system_checks.ts";

const GIB = 2 ** 30;

const LIMITS = "Limit  Soft Limit  Hard Limit  Units\n" +
  "Max open files            NUMBER               NUMBER               files\n";

const GOOD_FILES: Readonly<Record<string, string>> = {
  "/proc/self/limits": LIMITS.replaceAll("NUMBER", "1048576"),
  "/proc/sys/vm/max_map_count": "65530\n",
  "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
  "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
};

function machine(changes: Partial<Machine> = {}, files: Record<string, string> = {}): Machine {
  const all = { ...GOOD_FILES, ...files };
  return {
    os: "linux",
    cores: 8,
    memory: { totalBytes: 32 * GIB, availableBytes: 16 * GIB },
    load: 0.1,
    env: () => undefined,
    readText: (path) => all[path] ?? null,
    freeBytes: () => 1e12,
    ...changes,
  };
}

function byName(checks: readonly Check[], name: string): Check {
  const found = checks.find((check) => check.name === name);
  assert.ok(found, `no check ${name} among ${checks.map((check) => check.name).join(", ")}`);
  return found;
}

Deno.test("a good machine has nothing to be done", () => {
  for (const check of systemChecks(machine())) {
    assert.equal(check.level, "ok", JSON.stringify(check));
    assert.equal(check.fix, undefined);
  }
});

Deno.test("no limit on open files is none that is too low", () => {
  const unlimited = { "/proc/self/limits": LIMITS.replaceAll("NUMBER", "unlimited") };
  assert.equal(byName(systemChecks(machine({}, unlimited)), "Open files").level, "ok");
});

Deno.test("each shortcoming of a machine is a warning with the command against it", () => {
  const few = { "/proc/self/limits": LIMITS.replaceAll("NUMBER", "1024") };
  const fewNow = {
    "/proc/self/limits": LIMITS.replace("NUMBER", "1024  ").replace("NUMBER", "1048576"),
  };
  const governor = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
  const clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
  const cases: [Machine, string, RegExp][] = [
    [machine({}, few), "Open files", /limits\.d/],
    [machine({}, fewNow), "Open files", /^ulimit -n 65535$/],
    [machine({}, { "/proc/sys/vm/max_map_count": "100\n" }), "Memory maps", /^sudo sysctl -w /],
    [machine({}, { [governor]: "powersave\n" }), "CPU governor", /^sudo cpupower /],
    [machine({}, { [clock]: "hpet\n" }), "Clock", /tee .*current_clocksource$/],
    [machine({ load: 7 }), "Processor", /end what else runs/],
    [
      machine({ memory: { totalBytes: GIB, availableBytes: GIB / 2 } }),
      "Memory",
      /give this machine more/,
    ],
  ];
  for (const [shown, name, fix] of cases) {
    const check = byName(systemChecks(shown), name);
    assert.equal(check.level, "warning", name);
    assert.match(check.fix!, fix);
  }
});

Deno.test("what Deno may not read is unknown, and said so", () => {
  const checks = systemChecks(machine({
    readText: (path) => {
      throw new Deno.errors.NotCapable(path);
    },
  }));
  const check = byName(checks, "Open files");
  assert.equal(check.level, "unknown");
  assert.match(check.fix!, /deno task profile check/);
});

Deno.test("another system than Linux has no files of Linux to check", () => {
  const names = systemChecks(machine({ os: "darwin" })).map(({ name }) => name);
  assert.deepEqual(names, ["Processor", "Memory"]);
});

async function inDirectory(body: (directory: string) => void | Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync();
  try {
    await body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function withEnv(values: Record<string, string>): Machine {
  return machine({ env: (name) => values[name] });
}

Deno.test("a model directory that is missing or empty fails, and a broken model is told", () =>
  inDirectory((directory) => {
    const missing = join(directory, "not there");
    const given = withEnv({ CLOCKWORK_MODEL_DIR: missing });
    const first = byName(clusterChecks(given, missing, []), "Model directory");
    assert.equal(first.level, "failed");
    assert.ok(first.fix!.startsWith(`mkdir -p '${missing}'`), first.fix);

    const empty = byName(clusterChecks(given, directory, []), "Model directory");
    assert.equal(empty.level, "failed");
    assert.match(empty.found, /^no models in /);

    Deno.mkdirSync(join(directory, "one"));
    Deno.writeTextFileSync(join(directory, "one", "model.onnx"), "");
    const good = byName(clusterChecks(given, directory, []), "Model directory");
    assert.deepEqual([good.level, good.found], [
      "ok",
      `1 model in ${directory}, all with an ONNX file`,
    ]);

    Deno.writeTextFileSync(join(directory, "one", "model.json"), "{");
    const broken = byName(clusterChecks(given, directory, []), "Model directory");
    assert.equal(broken.level, "warning");
    assert.match(broken.fix!, /^correct the model, or remove .*one$/);
  }));

Deno.test("profiles without models are enough for the emulated worker only", () =>
  inDirectory((directory) => {
    Deno.mkdirSync(join(directory, "one"));
    Deno.writeTextFileSync(join(directory, "one", "model.json"), "{}");
    const check = byName(clusterChecks(machine(), directory, []), "Model directory");
    assert.equal(check.level, "warning");
    assert.match(check.fix!, /worker-dummy only/);
  }));

Deno.test("a log directory must be such that it can be made and written", () =>
  inDirectory((directory) => {
    const check = (path: string, changes: Partial<Machine> = {}) => {
      const shown = { ...withEnv({ CLOCKWORK_LOG_DIR: path }), ...changes };
      return byName(clusterChecks(shown, directory, []), "Log directory");
    };
    assert.equal(check(directory).level, "ok");
    assert.equal(check(join(directory, "a", "b")).level, "ok", "a controller makes it");
    assert.deepEqual([...Deno.readDirSync(directory)], [], "nothing is left behind");
    const file = join(directory, "file");
    Deno.writeTextFileSync(file, "");
    const failed = check(join(file, "logs"));
    assert.equal(failed.level, "failed");
    assert.match(failed.fix!, /^sudo install -d /);
    const scarce = check(directory, { freeBytes: () => 1e9 });
    assert.equal(scarce.level, "warning");
    assert.match(scarce.fix!, /--log-files/);
  }));

Deno.test("a configuration that cannot be read fails", () =>
  inDirectory((directory) => {
    const path = join(directory, "worker.cfg");
    Deno.writeTextFileSync(path, "weights_cache_size = true\n");
    const shown = withEnv({ CLOCKWORK_CONFIG_FILE: path });
    const check = byName(clusterChecks(shown, directory, []), "Configuration");
    assert.equal(check.level, "failed");
    assert.match(check.found, /weights_cache_size/);
  }));

Deno.test("a port in use is a warning that says how to find by whom", () => {
  using listener = Deno.listen({ hostname: "0.0.0.0", port: 0 });
  const { port } = listener.addr;
  const check = byName(clusterChecks(machine(), ".", [port]), `Port ${port}`);
  assert.deepEqual([check.level, check.found], ["warning", "in use"]);
  assert.match(check.fix!, /^ss -ltnp /);
});

const SURVEY = {
  name: "NVIDIA H100",
  software: false,
  vendor: "nvidia",
  architecture: "hopper",
  driver: "570.00",
  limits: { maxBufferSize: 4 * GIB },
  features: ["shader-f16", "timestamp-query"],
  mapAsyncMs: [0.03, 0.05, 0.04],
};

Deno.test("an adapter is judged by whether it is a GPU and answers at once", () => {
  const good = adapterCheck("Dawn", SURVEY);
  assert.equal(good.level, "ok");
  assert.equal(
    good.found,
    "NVIDIA H100 (570.00), buffers up to 4.0 GB, answers in 0.04 ms (at most 0.05), " +
      "has shader-f16, timestamp-query",
  );
  const software = adapterCheck("Dawn", { ...SURVEY, software: true });
  assert.equal(software.level, "warning");
  assert.match(software.fix!, /Vulkan driver/);
  const slow = adapterCheck("Deno's WebGPU", { ...SURVEY, mapAsyncMs: [11, 12, 11] });
  assert.equal(slow.level, "warning");
  assert.match(slow.fix!, /--device dawn/);
});

Deno.test("checks are printed by group, with marks, and coloured where that is wanted", () => {
  const checks: Check[] = [
    { group: "A", name: "one", level: "ok", found: "fine" },
    { group: "A", name: "two", level: "failed", found: "gone", fix: "mkdir it" },
    { group: "B", name: "three", level: "warning", found: "slow", fix: "speed it" },
  ];
  assert.deepEqual(describeChecks(checks, false), [
    "A",
    "  ✔ one: fine",
    "  ✘ two: gone",
    "      → mkdir it",
    "",
    "B",
    "  ⚠ three: slow",
    "      → speed it",
    "",
    "1 ok, 1 warnings, 1 failed, 0 unknown",
  ]);
  assert.equal(describeChecks(checks, true)[2], "  \x1b[31m✘\x1b[39m two: gone");
});
