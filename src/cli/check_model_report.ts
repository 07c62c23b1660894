/** The report of `check-model`, for people and for programs. */
import { MS, SECOND } from "../core/clock.ts";
import type { TensorSpec } from "../worker/backend.ts";
import type { CheckReport, Latency } from "../worker/check_model.ts";
import type { OnnxBackend } from "../worker/onnx/onnx_backend.ts";
import { isWithin } from "../worker/onnx/verify.ts";

function describeTensors(specs: readonly TensorSpec[]): string {
  return specs.map(({ name, dtype, shape, batched }) =>
    `${name} ${dtype}[${[...(batched ? ["batch"] : []), ...shape].join(",")}]`
  ).join(", ");
}

function ms(ns: number): string {
  return (ns / MS).toFixed(3);
}

function describeLatency({ medianNs, maxNs }: Latency): string {
  return `${ms(medianNs)} ms (max ${ms(maxNs)})`;
}

/** Requests in a second, one batch after the other. */
function throughput(batchSize: number, { medianNs }: Latency): number {
  return batchSize * SECOND / Math.max(medianNs, 1);
}

/** Lines of right-aligned columns. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) => row.map((cell, i) => cell.padStart(widths[i]!)).join("  "));
}

/** How the results compare with the CPU's, in words. */
function describeCheck(backend: OnnxBackend, report: CheckReport): string {
  const loaded = backend.onGpus(report.model)[0];
  if (loaded === undefined || loaded.check === null) {
    return loaded?.info.kind === "wasm" ? "it is the CPU" : "not compared";
  }
  const { check } = loaded;
  return `${isWithin(check) ? "within" : "BEYOND"} the tolerance of ${check.tolerance}: the ` +
    `largest difference is ${check.difference.toPrecision(2)}, of output "${check.output}"`;
}

/** The report for people, a line each. */
export function describe(
  backend: OnnxBackend,
  report: CheckReport,
  labels: readonly string[] | null,
  colour: boolean,
): string[] {
  const { model } = report;
  const bold = (text: string) => colour ? `\x1b[1m${text}\x1b[22m` : text;
  const hoisted = model.pagedBytes !== undefined;
  const rows = [
    ["batch", "median ms", "p99 ms", "max ms", "requests/s"],
    ...model.batchSizes.map((size, i) => {
      const exec = report.exec[i]!;
      return [
        `b${size}`,
        ms(exec.medianNs),
        ms(exec.p99Ns),
        ms(exec.maxNs),
        throughput(size, exec).toFixed(1),
      ];
    }),
  ];
  const lines = [
    bold(model.source),
    `  Device: ${backend.devices[0]!.name}`,
    ...backend.passedOver.map((reason) => `    passed over ${reason}`),
    `  Input size: ${model.inputBytes} bytes: ${describeTensors(model.inputs)}`,
    `  Output size: ${model.outputBytes} bytes: ${describeTensors(model.outputs)}`,
    "  Workspace: n/a (managed by ONNX Runtime)",
    "  Weights size paged (non-paged) [pages]: " +
    `${report.pagedBytes} (${model.weightsBytes}) [${report.pages}]`,
    `  Weights hoisted: ${hoisted ? "yes, each copy has its own pages" : "no"}`,
    ...model.notes.map((note) => `    ${note}`),
    `  Results against the CPU's: ${describeCheck(backend, report)}`,
    `  Weights transfer latency: ${describeLatency(report.loadWeights)}`,
    bold("  Execution latency:"),
    ...table(rows).map((line) => `    ${line}`),
  ];
  if (report.top !== null) {
    lines.push(bold(`  Top outputs of ${model.outputs[0]?.name}:`));
    if (report.top.length === 0) lines.push("    n/a (not floats)");
    for (const { index, value } of report.top) {
      const label = labels?.[index];
      lines.push(`    ${index}: ${value}${label === undefined ? "" : `  ${label}`}`);
    }
  }
  return lines;
}

/** The report for programs. */
export function toJson(
  backend: OnnxBackend,
  report: CheckReport,
  labels: readonly string[] | null,
): unknown {
  const { model } = report;
  const { kind, name, software, runtime, profileKey, weightsCacheBytes } = backend.devices[0]!;
  const latency = ({ medianNs, p99Ns, maxNs }: Latency) => ({
    median: medianNs,
    p99: p99Ns,
    max: maxNs,
  });
  return {
    source: model.source,
    device: {
      kind,
      name,
      software,
      runtime,
      profile_key: profileKey,
      weights_cache_bytes: weightsCacheBytes,
    },
    passed_over: backend.passedOver,
    inputs: model.inputs,
    outputs: model.outputs,
    input_bytes: model.inputBytes,
    output_bytes: model.outputBytes,
    workspace_bytes: null,
    weights: {
      bytes: model.weightsBytes,
      paged_bytes: report.pagedBytes,
      pages: report.pages,
      hoisted: model.pagedBytes !== undefined,
    },
    verified: backend.onGpus(model)[0]?.check ?? null,
    notes: model.notes,
    load_weights_ns: latency(report.loadWeights),
    exec_ns: Object.fromEntries(
      model.batchSizes.map((size, i) => [size, {
        ...latency(report.exec[i]!),
        requests_per_second: throughput(size, report.exec[i]!),
      }]),
    ),
    top: report.top?.map((one) => ({ ...one, label: labels?.[one.index] ?? null })) ?? null,
  };
}
