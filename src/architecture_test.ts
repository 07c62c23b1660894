/** Keeps the code in the layers that docs/architecture.md shows. */
import assert from "node:assert/strict";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const PAGE = Deno.readTextFileSync(join(ROOT, "docs", "architecture.md"));

interface Source {
  /** Below the root, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

interface Import {
  readonly path: string;
  /** Nothing of it is there when the program runs. */
  readonly typeOnly: boolean;
}

/** Tests and what only they use: these may import anything, and nothing else may import them. */
const TESTS =
  /_test\.ts$|\/\w*testing\w*\.ts$|\/(test_rig|test_cluster|fake_backend|scripted_link|pipe)\.ts$/;
const IMPORT =
  /^(?:import|export)\s+(type\s+)?[^;"]*?from\s+"(\.[^"]+)"|\bimport\(\s*"(\.[^"]+)"/gm;

function* read(folder: string): Generator<Source> {
  for (const entry of Deno.readDirSync(join(ROOT, folder))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* read(path);
    if (!entry.name.endsWith(".ts")) continue;
    const text = Deno.readTextFileSync(join(ROOT, path));
    const imports = [...text.matchAll(IMPORT)].map(([, type, from, called]) => ({
      path: relative(ROOT, join(ROOT, dirname(path), (from ?? called)!)).replaceAll("\\", "/"),
      typeOnly: type !== undefined,
    }));
    yield { path, text, imports };
  }
}

const sources = [...read("src")];
const program = sources.filter(({ path }) => !TESTS.test(path));

/** `src/wire/tcp.ts` is of the layer `wire`; what is not in src/ is of none. */
function layerOf(path: string): string | null {
  return /^src\/([^/]+)\//.exec(path)?.[1] ?? null;
}

interface Row {
  readonly layer: string;
  readonly imports: readonly string[];
}

/** The table of layers of the page, from the top down. */
function documented(): Row[] {
  return [...PAGE.matchAll(/^\| `src\/(\w+)\/` +\|[^|]*\| ([^|]*?) *\|$/gm)].map((
    [, layer, imports],
  ) => ({ layer: layer!, imports: imports === "" ? [] : imports!.split(", ") }));
}

Deno.test("docs/architecture.md shows what each layer imports", () => {
  const rows = documented();
  assert.deepEqual(
    rows.map(({ layer }) => layer).sort(),
    [...new Set(sources.map(({ path }) => layerOf(path)).filter((layer) => layer !== null))].sort(),
  );
  for (const { layer, imports } of rows) {
    const found = program.filter(({ path }) => layerOf(path) === layer)
      .flatMap((source) => source.imports.map(({ path }) => layerOf(path)))
      .filter((other) => other !== null && other !== layer);
    // In the order of the table.
    const expected = rows.map((row) => row.layer).filter((other) => found.includes(other));
    assert.deepEqual(imports, expected, `the row of src/${layer}/`);
  }
});

Deno.test("imports point down only", () => {
  const order = documented().map(({ layer }) => layer);
  for (const [place, { layer, imports }] of documented().entries()) {
    for (const other of imports) {
      assert.ok(order.indexOf(other) > place, `src/${layer}/ imports src/${other}/ above it`);
    }
  }
});

Deno.test("every folder of the program is on the map", () => {
  const folders = [...new Set(program.map(({ path }) => dirname(path)))].filter((path) =>
    path !== "src"
  );
  for (const folder of folders) {
    assert.ok(PAGE.includes(`\`${folder}/\``), `docs/architecture.md does not show ${folder}/`);
  }
  for (const [, folder] of PAGE.matchAll(/`(src\/[\w/]+)\/`/g)) {
    assert.ok(
      folders.includes(folder!),
      `docs/architecture.md shows ${folder}/, which is not there`,
    );
  }
});

Deno.test("no part of the program imports tests, benchmarks or tools", () => {
  for (const { path, imports } of program) {
    for (const { path: other } of imports) {
      assert.ok(!TESTS.test(other), `${path} imports ${other}, which is for tests`);
      const outside = !other.startsWith("src/") && other !== "deno.json";
      assert.ok(!outside || layerOf(path) === "cli", `${path} imports ${other}`);
      assert.doesNotMatch(other, /^(bench|tools|testdata)\//, `${path} imports ${other}`);
    }
  }
});

Deno.test("no two files need each other when the program runs", () => {
  const needs = new Map(program.map(({ path, imports }) => [
    path,
    imports.filter(({ typeOnly }) => !typeOnly).map((one) => one.path),
  ]));
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]) => {
    const at = way.indexOf(path);
    assert.ok(at < 0, `they import each other: ${[...way.slice(at), path].join(" → ")}`);
    if (done.has(path)) return;
    for (const next of needs.get(path) ?? []) visit(next, [...way, path]);
    done.add(path);
  };
  for (const path of needs.keys()) visit(path, []);
});

/** What comes from the machine, and the only files below src/cli that may ask it. */
const MACHINE: readonly (readonly [what: string, use: RegExp, allowed: RegExp])[] = [
  [
    "time",
    /\bperformance\.now|\bDate\.now|\bnew Date\(\)/,
    /^src\/core\/(system_clock|timer_thread)\.ts$|^src\/worker\/onnx\//,
  ],
  [
    "timers",
    /\b(setTimeout|setInterval)\(|"node:timers"/,
    /^src\/core\/(system_clock|virtual_clock)\.ts$|^src\/worker\/onnx\/next_turn\.ts$/,
  ],
  [
    "random numbers",
    /\bMath\.random|\bcrypto\.(random|getRandom)/,
    /^src\/(client\/connect|worker\/model_files|worker\/uploads\/disk_store)\.ts$/,
  ],
  [
    "sockets",
    /\bDeno\.(listen|connect|serve|startTls)|"node:(net|tls|http|https|http2)"/,
    /^src\/wire\/(tcp|tls)\.ts$/,
  ],
  ["GPUs", /\bnavigator\.gpu|import\("(webgpu|onnxruntime)/, /^src\/worker\/onnx\//],
  [
    "threads",
    /\bnew Worker\(/,
    /^src\/core\/system_clock\.ts$|^src\/worker\/onnx\/gpu_thread\.ts$/,
  ],
  ["the environment", /\bDeno\.env\b/, /^src\/worker\/onnx\/device\.ts$/],
];

Deno.test("below src/cli, only few files ask the machine", () => {
  for (const { path, text } of program) {
    if (path.startsWith("src/cli/")) continue;
    const code = text.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*/g, "");
    for (const [what, use, allowed] of MACHINE) {
      assert.ok(!use.test(code) || allowed.test(path), `${path} asks the machine for ${what}`);
    }
  }
});
