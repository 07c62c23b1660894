/** Prints a profile for people. */
import type { Figure } from "./benchmark.ts";
import type { Check, Level } from "./check.ts";

const MARKS: Readonly<Record<Level, readonly [mark: string, colour: number]>> = {
  ok: ["✔", 32],
  warning: ["⚠", 33],
  failed: ["✘", 31],
  unknown: ["?", 36],
};

/** Checks by their groups, each with what to do about it, a line each. */
export function describeChecks(checks: readonly Check[], colour: boolean): string[] {
  const lines: string[] = [];
  let group = "";
  for (const check of checks) {
    if (check.group !== group) lines.push(...(group === "" ? [] : [""]), group = check.group);
    const [mark, code] = MARKS[check.level];
    const shown = colour ? `\x1b[${code}m${mark}\x1b[39m` : mark;
    lines.push(`  ${shown} ${check.name}: ${check.found}`);
    if (check.fix !== undefined) lines.push(`      → ${check.fix}`);
  }
  const count = (level: Level) => checks.filter((check) => check.level === level).length;
  lines.push(
    "",
    `${count("ok")} ok, ${count("warning")} warnings, ${count("failed")} failed, ` +
      `${count("unknown")} unknown`,
  );
  return lines;
}

/** Figures in columns, a line each. */
export function describeFigures(figures: readonly Figure[]): string[] {
  const rows = figures.map(({ name, value, unit, note }) => [name, value.toFixed(2), unit, note]);
  const width = (column: number) => Math.max(...rows.map((row) => row[column]!.length));
  return [
    "",
    "Benchmark",
    ...rows.map(([name, value, unit, note]) =>
      `  ${name!.padEnd(width(0))}  ${value!.padStart(width(1))} ${unit!.padEnd(width(2))}  ${note}`
    ),
  ];
}
