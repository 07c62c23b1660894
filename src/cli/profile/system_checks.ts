/** Checks of the operating system's limits and settings. */
import { describeBytes } from "../../wire/describe.ts";
import { type Check, checksOf } from "./check.ts";
import type { Machine } from "./machine.ts";

const GIB = 2 ** 30;
/** For ten thousand clients, the controller's limit, and all else; the original asks for as many. */
const OPEN_FILES = 65535;
/** Linux's default. A GPU driver may need one for each page of weights, of which a GPU has thousands. */
const MEMORY_MAPS = 65530;
const AVAILABLE_BYTES = 2 * GIB;
/** These take microseconds a reading, and are not exact. */
const SLOW_CLOCKS = ["hpet", "acpi_pm", "jiffies"];

const check = checksOf("System");

/** Files of /proc and /sys may be read by those who may do everything. */
const READ_ALL = "`deno task profile check`, in the sources, may read the system's files";

export function systemChecks(machine: Machine): Check[] {
  return [cpu(machine), memory(machine), ...(machine.os === "linux" ? linuxChecks(machine) : [])];
}

function cpu({ cores, load }: Machine): Check {
  const busy = load !== null && load > cores / 2;
  const found = `${cores} core${cores === 1 ? "" : "s"}` +
    (load === null ? "" : `, ${load.toFixed(2)} busy in the last minute`);
  if (busy) {
    return check(
      "Processor",
      "warning",
      found,
      "end what else runs here: times below suffer by it",
    );
  }
  return check("Processor", "ok", found);
}

function memory({ memory: { totalBytes, availableBytes } }: Machine): Check {
  return check(
    "Memory",
    availableBytes < AVAILABLE_BYTES ? "warning" : "ok",
    `${describeBytes(availableBytes)} of ${describeBytes(totalBytes)} available`,
    "end other programs, or give this machine more: a worker keeps its models' weights in memory",
  );
}

function linuxChecks(machine: Machine): Check[] {
  return [
    readable("Open files", () => openFiles(machine)),
    readable("Memory maps", () => memoryMaps(machine)),
    readable("CPU governor", () => governor(machine)),
    readable("Clock", () => clockSource(machine)),
  ];
}

function readable(name: string, read: () => Check): Check {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    return check(name, "unknown", "this process may not read it", READ_ALL);
  }
}

function openFiles(machine: Machine): Check {
  const line = /^Max open files\s+(\S+)\s+(\S+)/m.exec(machine.readText("/proc/self/limits") ?? "");
  if (line === null) return check("Open files", "unknown", "the system does not tell the limit");
  const [, soft, hard] = line;
  const most = soft === "unlimited" ? Infinity : Number(soft);
  return check(
    "Open files",
    most >= OPEN_FILES ? "ok" : "warning",
    `at most ${soft} (hard limit ${hard}); ${OPEN_FILES} are enough for 10000 clients`,
    Number(hard) < OPEN_FILES
      ? `echo '* - nofile ${OPEN_FILES}' | sudo tee /etc/security/limits.d/clockwork.conf, and log in again`
      : `ulimit -n ${OPEN_FILES}`,
  );
}

function memoryMaps(machine: Machine): Check {
  const text = machine.readText("/proc/sys/vm/max_map_count");
  if (text === null) return check("Memory maps", "unknown", "the system does not tell the limit");
  return check(
    "Memory maps",
    Number(text) >= MEMORY_MAPS ? "ok" : "warning",
    `at most ${text.trim()}`,
    `sudo sysctl -w vm.max_map_count=${MEMORY_MAPS}`,
  );
}

function governor(machine: Machine): Check {
  const text = machine.readText("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?.trim();
  if (text === undefined) {
    return check("CPU governor", "ok", "none: the frequency is not this system's to choose");
  }
  return check(
    "CPU governor",
    text === "performance" ? "ok" : "warning",
    text,
    "sudo cpupower frequency-set -g performance",
  );
}

function clockSource(machine: Machine): Check {
  const folder = "/sys/devices/system/clocksource/clocksource0";
  const text = machine.readText(`${folder}/current_clocksource`)?.trim();
  if (text === undefined) return check("Clock", "unknown", "the system does not tell its source");
  return check(
    "Clock",
    SLOW_CLOCKS.includes(text) ? "warning" : "ok",
    text,
    `echo tsc | sudo tee ${folder}/current_clocksource`,
  );
}
