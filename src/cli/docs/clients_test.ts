/** The examples of docs/clients.md, run as they stand there against a real model on the CPU. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../demo/processes.ts";
import { Processes } from "../testing.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

interface Example {
  readonly language: string;
  readonly code: string;
  /** What the page says that it prints. */
  readonly printed: string;
}

function readExamples(page: string): Example[] {
  const blocks = page.matchAll(/^```(\w+)\n([^]*?)^```\n\n```text\n([^]*?)^```$/gm);
  return [...blocks].map(([, language, code, printed]) => ({
    language: language!,
    code: code!,
    printed: printed!,
  }));
}

/** How each language's examples are run, with the file as last argument. */
const RUNNERS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  sh: [["sh", "-eu"]],
  js: [[Deno.execPath(), "run", "--allow-net"], ["node"]],
  ts: [[Deno.execPath(), "run", "--check", "--allow-net", "--allow-read"]],
  python: [["python3"]],
};

/** What an example needs and this machine lacks; null for nothing. */
async function missing({ language, code }: Example, program: string): Promise<string | null> {
  const needed = language === "sh" ? "curl" : program;
  if (!await works([needed, "--version"])) return needed;
  const triton = ["python3", "-c", "import tritonclient.http"];
  return code.includes("tritonclient") && !await works(triton) ? "tritonclient" : null;
}

async function works(command: readonly string[]): Promise<boolean> {
  try {
    const [program, ...args] = command;
    const { success } = await new Deno.Command(program!, { args }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Checks that texts are equal but for blanks and for the last digits of fractions. */
function assertPrinted(actual: string, expected: string): void {
  const fraction = /\d+\.\d+(?:e-?\d+)?/g;
  const shape = (text: string) => text.replaceAll(fraction, "#").replaceAll(/\s+/g, " ").trim();
  assert.equal(shape(actual), shape(expected));
  const values = (text: string) => (text.match(fraction) ?? []).map(Number);
  const expectedValues = values(expected);
  for (const [i, value] of values(actual).entries()) {
    const difference = Math.abs(value - expectedValues[i]!);
    assert.ok(difference <= 1e-4, `${value} instead of ${expectedValues[i]}`);
  }
}

/** A worker with the page's model, a controller and a gateway. */
async function startCluster(processes: Processes, directory: string) {
  const models = join(directory, "models");
  Deno.mkdirSync(join(models, "mlp"), { recursive: true });
  Deno.copyFileSync(
    join(ROOT, "testdata/models/mlp/model.onnx"),
    join(models, "mlp/model.onnx"),
  );
  const worker = await processes.worker(["worker", "--device", "wasm"], {
    CLOCKWORK_MODEL_DIR: models,
  });
  const controller = await processes.controller([worker]);
  const port = freePort();
  const gateway = processes.start(["gateway", controller.address, "-p", `${port}`]);
  await gateway.printed("Connected to the controller");
  return { controller: controller.address, gateway: `localhost:${port}` };
}

Deno.test("the examples of docs/clients.md print what the page says", async (t) => {
  const examples = readExamples(Deno.readTextFileSync(join(ROOT, "docs/clients.md")));
  assert.deepEqual(
    examples.map(({ language }) => language),
    ["sh", "sh", "sh", "sh", "sh", "sh", "js", "js", "python", "python", "ts"],
  );
  const directory = Deno.makeTempDirSync();
  await using processes = new Processes();
  try {
    const { controller, gateway } = await startCluster(processes, directory);
    const { msgpackr } = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json"))).imports;
    const imports = { "clockwork/client": join(ROOT, "src/client/mod.ts"), msgpackr };
    Deno.writeTextFileSync(join(directory, "deno.json"), JSON.stringify({ imports }));
    // The first of the page's examples loads the model; curl may be missing.
    const loaded = await fetch(`http://${gateway}/v2/repository/models/mlp/load`, {
      method: "POST",
    });
    assert.equal(loaded.status, 200, await loaded.text());
    for (const [i, example] of examples.entries()) {
      const { language, code, printed } = example;
      const file = join(directory, `example${i}.${language === "js" ? "mjs" : language}`);
      Deno.writeTextFileSync(
        file,
        code.replaceAll("localhost:8000", gateway).replaceAll("127.0.0.1:12346", controller),
      );
      for (const [program, ...args] of RUNNERS[language]!) {
        const lacking = await missing(example, program!);
        await t.step({
          name: `${i}: ${language}${lacking === null ? "" : `, skipped: no ${lacking} here`}`,
          ignore: lacking !== null,
          fn: async () => {
            const { success, stdout, stderr } = await new Deno.Command(program!, {
              args: [...args, file],
              cwd: directory,
              env: { NO_COLOR: "1" },
            }).output();
            assert.ok(success, new TextDecoder().decode(stderr));
            assertPrinted(new TextDecoder().decode(stdout), printed);
          },
        });
      }
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
