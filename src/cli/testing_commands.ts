/** For tests: whether command lines that users are shown are such that Clockwork takes them. */
import { Command, CommanderError } from "commander";
import { fileURLToPath } from "node:url";
import config from "../../deno.json" with { type: "json" };
import { findWorkload } from "../client/workloads/registry.ts";
import { makeProgram } from "./program.ts";
import { schedulers } from "./schedulers.ts";
import { parseWorkers } from "./worker_list.ts";

const ROOT = new URL("../../", import.meta.url);

/** What is wrong with the arguments of `clockwork`; null when nothing is. Runs nothing. */
export async function argumentsProblem(args: readonly string[]): Promise<string | null> {
  const program = await makeProgram(args);
  let problem: string | null = null;
  const disarm = (command: Command) => {
    command.configureOutput({ writeErr: () => {}, writeOut: () => {} });
    for (const sub of command.commands) disarm(sub);
    // One that has others below it runs one of them.
    if (command.commands.length > 0) return;
    command.action(() => {
      problem = operandsProblem(command);
    });
  };
  disarm(program);
  try {
    await program.parseAsync([...args], { from: "user" });
    return problem;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version.
    return error.exitCode === 0 ? null : error.message;
  }
}

/** What commander cannot know of the plain arguments. */
function operandsProblem(command: Command): string | null {
  const [first = "", second = "", ...rest] = command.args;
  const plan = (name: string, parameters: readonly string[]) =>
    findWorkload(name).plan(parameters, { zoo: ["a"], azureTraceDir: null });
  try {
    if (command.name() === "client") plan(second, rest);
    if (command.name() === "simulate") plan(second, rest);
    if (command.name() === "controller") parseWorkers(second);
    const takesScheduler = ["controller", "simulate"].includes(command.name());
    if (takesScheduler && !schedulers.some(({ name }) => name === first)) {
      return `no scheduler ${first}`;
    }
    return null;
  } catch (error) {
    // Traces are not here.
    if ((error as Error).message.includes("AZURE_TRACE_DIR")) return null;
    return (error as Error).message;
  }
}

/**
 * What is wrong with a line of a shell that calls Clockwork or Deno; null when nothing is, or when it
 * calls something else.
 */
export function lineProblem(line: string): Promise<string | null> {
  const words = shellWords(line);
  while (/^[A-Z_]+=/.test(words[0] ?? "")) words.shift();
  if (words[0] === "npx") {
    const at = words.findIndex((word) => /^deno@/.test(word));
    words.splice(0, at + 1, "deno");
  }
  if (words[0] === "clockwork") return argumentsProblem(words.slice(1));
  if (words[0] !== "deno") return Promise.resolve(null);
  return words[1] === "task"
    ? taskProblem(words.slice(2).filter((word) => word !== "--quiet" && word !== "-q"))
    : Promise.resolve(fileProblem(words));
}

async function taskProblem([name = "", ...args]: readonly string[]): Promise<string | null> {
  const tasks: Readonly<Record<string, { command: string }>> = config.tasks;
  const task = tasks[name];
  if (task === undefined) return `no task ${name} in deno.json`;
  const own = /^deno run .* main\.ts(.*)$/.exec(task.command)?.[1];
  return own === undefined ? null : await argumentsProblem([...shellWords(own), ...args]);
}

/** Whether the program that `deno run` or `deno bench` is given is in the repository. */
function fileProblem(words: readonly string[]): string | null {
  const file = words.find((word) => word.endsWith(".ts"));
  if (file === undefined || !file.includes("/")) return null;
  try {
    Deno.statSync(fileURLToPath(new URL(file, ROOT)));
    return null;
  } catch {
    return `there is no ${file}`;
  }
}

/** The words of the first command of a line, as a shell splits it. */
export function shellWords(line: string): string[] {
  const words: string[] = [];
  const word = /\s*(?:(#.*|[|&;>].*|[0-9]>.*)$|((?:"[^"]*"|'[^']*'|\\.|[^\s"'\\|&;>])+))/y;
  for (let match; (match = word.exec(line)) !== null;) {
    if (match[1] !== undefined) break;
    words.push(match[2]!.replace(/"([^"]*)"|'([^']*)'|\\(.)/g, "$1$2$3"));
  }
  return words;
}

/** Lines that show a form, not a command: they have parts that may be left out or stand for others. */
const FORM =
  /\[|…|\.\.\.|\bCOMMAND\b|\bNAME\b|\bADDRESS\b|\bCONTROLLER\b|\bLOGDIR\b|\bDIR\b|\bFILE\b/;

/** The commands that a page in markdown shows: lines of its code blocks, and code in its sentences. */
export function commandsIn(markdown: string): string[] {
  const commands: string[] = [];
  const add = (text: string) => {
    const command = text.trim().replace(/^\$ /, "");
    if (/^([A-Z_]+=\S+ )*(clockwork|deno|npx)\b/.test(command) && !FORM.test(command)) {
      commands.push(command);
    }
  };
  let fenced = false;
  const joined = markdown.replace(/\\\n\s*/g, "");
  for (const line of joined.split("\n")) {
    if (line.trimStart().startsWith("```")) fenced = !fenced;
    else if (fenced || line.startsWith("    ")) add(line);
  }
  const sentences = joined.replace(/^\s*```[\s\S]*?^\s*```/gm, "").replace(/^ {4}.*$/gm, "");
  for (const [, code] of sentences.replace(/\n/g, " ").matchAll(/`([^`]+)`/g)) {
    const text = code!.trim();
    // A sentence may name a command or a program without all that it must be given.
    if (/^(deno task )?clockwork [a-z-]+$/.test(text)) add(`${text} -h`);
    else if (/ /.test(text) && !/ (task|clockwork)$/.test(text)) add(text);
  }
  return commands;
}
