/**
 * `deno task compile`: makes dist/clockwork, one executable of the program for this platform, to be
 * used without Deno or Node. Needs the internet: `deno compile` fetches Deno's runtime part.
 * Arguments go to `deno compile`.
 *
 * Left to itself the executable would hold each platform's build of Dawn, each build of ONNX Runtime,
 * and the tests and tools of packages, 250 MB that are never used; this finds and excludes them.
 */
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { RUN_SELF } from "../src/cli/run_self.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

const lock: { readonly npm: Readonly<Record<string, unknown>> } = JSON.parse(
  Deno.readTextFileSync(join(ROOT, "deno.lock")),
);

/** What each of the large packages is used for; everything else in it is excluded. */
const kept: Readonly<Record<string, readonly string[]>> = {
  webgpu: ["package.json", "index.js", `dist/${dawnBuild()}/`],
  "onnxruntime-web": [
    "package.json",
    "dist/ort.jspi.bundle.min.mjs",
    "dist/ort-wasm-simd-threaded.jspi.mjs",
    "dist/ort-wasm-simd-threaded.jspi.wasm",
  ],
};

/** What nobody needs of other packages: tests, tools, and second copies of their code. */
const dropped: Readonly<Record<string, readonly string[]>> = {
  // Its samples are so long that `deno compile` overflows its stack on them.
  bintrees: ["test/", "dist/", "examples/"],
  msgpackr: ["dist/"],
  protobufjs: ["cli/", "dist/", "ext/"],
  zod: ["src/"],
};

/** What no import names: entries of threads, and what is imported or read only when it is needed. */
export const INCLUDED = [
  "src/worker/onnx/thread.ts",
  "src/core/timer_thread.ts",
  "src/cli/gateway/gateway_thread.ts",
  "src/cli/logs/log_thread.ts",
  "config",
  "npm:webgpu",
  "npm:onnxruntime-web/jspi",
];

/** The rights that `deno task clockwork` grants, and Deno's unstable parts that it turns on. */
const rights = RUN_SELF.filter((arg) => /^--(allow|unstable)-/.test(arg));

/** The folder of Dawn's builds that this platform loads. */
function dawnBuild(): string {
  const { os, arch } = Deno.build;
  if (os === "darwin") return "darwin-universal";
  return `${os === "windows" ? "win32" : os}-${arch === "x86_64" ? "x64" : "arm64"}`;
}

function deno(args: readonly string[], stderr: "inherit" | "null") {
  return new Deno.Command(Deno.execPath(), { args: [...args], cwd: ROOT, stderr }).output();
}

/** Where Deno keeps packages, below a folder for each registry. */
async function npmCache(): Promise<string> {
  const { stdout } = await deno(["info", "--json"], "null");
  return JSON.parse(new TextDecoder().decode(stdout)).npmCache;
}

/** Where the versions of a package that deno.lock has lie in Deno's cache. */
function packageFolders(name: string, cache: string): string[] {
  const locked = Object.keys(lock.npm).filter((key) => key.startsWith(`${name}@`));
  if (locked.length === 0) throw new Error(`deno.lock has no version of ${name}`);
  return locked.map((key) => {
    // Some have what they were resolved with behind an underscore.
    const version = key.slice(name.length + 1).split("_")[0]!;
    for (const registry of Deno.readDirSync(cache)) {
      const folder = join(cache, registry.name, name, version);
      if (isDirectory(folder)) return folder;
    }
    throw new Error(`cannot find ${name}@${version} below ${cache}`);
  });
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Folders and files below `folder` that hold nothing of what is kept. */
function* unused(folder: string, keep: readonly string[], root = folder): Generator<string> {
  for (const entry of Deno.readDirSync(folder)) {
    const path = join(folder, entry.name);
    const name = relative(root, path).replaceAll("\\", "/") + (entry.isDirectory ? "/" : "");
    if (keep.some((one) => one === name || (one.endsWith("/") && name.startsWith(one)))) continue;
    if (entry.isDirectory && keep.some((one) => one.startsWith(name))) {
      yield* unused(path, keep, root);
    } else yield path;
  }
}

/** What `deno compile` would embed for nothing. */
async function excludedPaths(): Promise<string[]> {
  // All packages are downloaded before it is looked what is in them.
  const entries = INCLUDED.filter((path) => path.endsWith(".ts"));
  await deno(["install", "--entrypoint", "main.ts", ...entries], "inherit");
  const cache = await npmCache();
  const excluded: string[] = [];
  for (const [name, keep] of Object.entries(kept)) {
    for (const folder of packageFolders(name, cache)) {
      for (const path of keep) Deno.statSync(join(folder, path));
      excluded.push(...unused(folder, keep));
    }
  }
  for (const [name, drop] of Object.entries(dropped)) {
    for (const folder of packageFolders(name, cache)) {
      excluded.push(...drop.map((path) => join(folder, path)).filter(isDirectory));
    }
  }
  return excluded;
}

if (import.meta.main) {
  const excluded = await excludedPaths();
  const output = Deno.args.includes("--output") ? [] : ["--output", "dist/clockwork"];
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", ...rights, "--exclude-unused-npm"]
      .concat(INCLUDED.flatMap((path) => ["--include", path]))
      .concat(excluded.flatMap((path) => ["--exclude", path]))
      .concat([...output, ...Deno.args, "main.ts"]),
    cwd: ROOT,
  }).spawn().status;
  Deno.exit(code);
}
