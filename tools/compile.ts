/**
 * `deno task compile`: makes dist/clockwork, one executable of the program for this platform, to be
 * used without Deno or Node. Needs the internet: `deno compile` fetches Deno's runtime part.
 * Arguments go to `deno compile`.
 *
 * Left to itself the executable would hold each platform's build of Dawn and each build of ONNX
 * Runtime, 250 MB that are never used; this finds and excludes them.
 */
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import config from "../deno.json" with { type: "json" };

const ROOT = fileURLToPath(new URL("..", import.meta.url));

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

/** Modules that no import names: entries of threads, and what is imported by them. */
const included = [
  "src/worker/onnx/thread.ts",
  "src/core/timer_thread.ts",
  "src/cli/gateway_thread.ts",
  "config",
  "npm:webgpu",
  "npm:onnxruntime-web/jspi",
];

const permissions = [
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  "--allow-sys",
  "--allow-ffi",
];

/** The folder of Dawn's builds that this platform loads. */
function dawnBuild(): string {
  const { os, arch } = Deno.build;
  if (os === "darwin") return "darwin-universal";
  return `${os === "windows" ? "win32" : os}-${arch === "x86_64" ? "x64" : "arm64"}`;
}

function run(args: readonly string[]): Promise<Deno.CommandOutput> {
  return new Deno.Command(Deno.execPath(), { args: [...args], cwd: ROOT, stderr: "inherit" })
    .output();
}

/** Where this version of a package lies in Deno's cache; it is downloaded first if need be. */
async function packageFolder(name: string): Promise<string> {
  const specifier = Object.values(config.imports).find((to) => to.startsWith(`npm:${name}@`));
  const version = /@(\d[^/]*)/.exec(specifier ?? "")?.[1];
  if (version === undefined) throw new Error(`deno.json imports no fixed version of ${name}`);
  await run(["cache", `npm:${name}@${version}`]);
  const { npmCache } = JSON.parse(new TextDecoder().decode((await run(["info", "--json"])).stdout));
  for (const registry of Deno.readDirSync(npmCache)) {
    const folder = join(npmCache, registry.name, name, version);
    try {
      if (Deno.statSync(folder).isDirectory) return folder;
    } catch {
      // It came from another registry.
    }
  }
  throw new Error(`cannot find ${name}@${version} below ${npmCache}`);
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

const excluded: string[] = [];
for (const [name, keep] of Object.entries(kept)) {
  const folder = await packageFolder(name);
  for (const path of keep) Deno.statSync(join(folder, path));
  excluded.push(...unused(folder, keep));
}
const { code } = await new Deno.Command(Deno.execPath(), {
  args: ["compile", "--unstable-webgpu", ...permissions, "--exclude-unused-npm"]
    .concat(included.flatMap((path) => ["--include", path]))
    .concat(excluded.flatMap((path) => ["--exclude", path]))
    .concat(["--output", "dist/clockwork", ...Deno.args, "main.ts"]),
  cwd: ROOT,
}).spawn().status;
Deno.exit(code);
