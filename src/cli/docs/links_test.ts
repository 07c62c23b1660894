/** Keeps the pages in README.md and docs/ connected: links, images, and lists of what there is. */
import assert from "node:assert/strict";
import denoConfig from "../../../deno.json" with { type: "json" };
import { DEFAULT_WORKER_CONFIG } from "../../worker/config.ts";
import { makeProgram } from "../program.ts";

const ROOT = new URL("../../../", import.meta.url);

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

/** All files below a folder, as paths from the root. */
function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesIn(`${folder}/${name}`) : [`${folder}/${name}`]
  );
}

const pages = ["README.md", ...filesIn("docs").filter((path) => path.endsWith(".md"))];

/** A page without its blocks and pieces of code, where brackets are no links. */
function prose(page: string): string {
  return page.replace(/^```[\s\S]*?^```/gm, "").replace(/^ {4}.*$/gm, "").replace(/`[^`]*`/g, "x");
}

/** What links and images of a page lead to. */
function linksOf(page: string): string[] {
  return [...prose(page).matchAll(/\]\(([^()\s]+)\)/g)].map(([, target]) => target!);
}

/** The names by which headings of a page can be linked to, as GitHub makes them. */
function anchorsOf(page: string): Set<string> {
  const headings = page.replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, text]) =>
      text!.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
    ),
  );
}

/** What is wrong with a link on a page; null when nothing is. Other hosts are not asked. */
function linkProblem(from: string, target: string): string | null {
  if (/^[a-z]+:/.test(target)) return null;
  const [path = "", anchor] = target.split("#");
  const url = path === "" ? new URL(from, ROOT) : new URL(path, new URL(from, ROOT));
  try {
    if (!Deno.statSync(url).isFile) return anchor === undefined ? null : "a folder has no headings";
  } catch {
    return "there is no such file";
  }
  if (anchor === undefined || anchorsOf(Deno.readTextFileSync(url)).has(anchor)) return null;
  return "there is no such heading";
}

for (const page of pages) {
  Deno.test(`the links in ${page} lead somewhere`, () => {
    const problems = linksOf(read(page))
      .map((target) => [target, linkProblem(page, target)])
      .filter(([, problem]) => problem !== null);
    assert.deepEqual(problems, []);
  });
}

Deno.test("links that lead nowhere are found", () => {
  const links = linksOf(
    "[a](docs/nowhere.md), `[b](c)` and ![d](docs/design.md#the-idea)\n\n    [e](f)\n\n[g](LICENSE)",
  );
  assert.deepEqual(links, ["docs/nowhere.md", "docs/design.md#the-idea", "LICENSE"]);
  assert.deepEqual(links.map((link) => linkProblem("README.md", link)), [
    "there is no such file",
    null,
    null,
  ]);
  assert.equal(linkProblem("docs/design.md", "#no-idea"), "there is no such heading");
});

Deno.test("docs/README.md lists all pages, and all pictures are used", () => {
  const listed = linksOf(read("docs/README.md"));
  const missing = pages.filter((page) =>
    page.startsWith("docs/") && page !== "docs/README.md" && !listed.includes(page.slice(5))
  );
  assert.deepEqual(missing, []);
  const all = pages.map(read).join("\n");
  const unused = filesIn("docs").filter((path) => path.endsWith(".png"))
    .filter((path) => !all.includes(path.slice(5)));
  assert.deepEqual(unused, []);
});

/** The variables that a source reads by their names, and Clockwork's own, which may be read otherwise. */
function variablesIn(source: string): string[] {
  return [
    ...[...source.matchAll(/\benv(?:\.get|\.has)?\("([A-Z_]+)"\)/g)].map(([, name]) => name!),
    ...source.match(/\bCLOCKWORK_[A-Z]+(_[A-Z]+)*\b/g) ?? [],
  ];
}

Deno.test("variables are found in sources", () => {
  const source = 'Deno.env.get("A_B"); if (Deno.env.has("C")) x.env("D"); // as CLOCKWORK_E says';
  assert.deepEqual(variablesIn(source), ["A_B", "C", "D", "CLOCKWORK_E"]);
});

Deno.test("docs/environment.md has each variable that the program reads, and no other", () => {
  const sources = filesIn("src").filter((path) => path.endsWith(".ts") && !/test/.test(path));
  const found = sources.flatMap((path) => variablesIn(read(path)));
  const section = read("docs/environment.md").split(/^## /m)
    .find((text) => text.startsWith("Read by Clockwork\n"));
  const documented = [...section!.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name!);
  assert.deepEqual([...new Set(found)].sort(), documented.sort());
});

Deno.test("docs/configuration.md has each key of the worker's configuration, with its default", () => {
  const rows = [...read("docs/configuration.md").matchAll(/^\| `([a-z_]+)` +\| (\S+) +\|/gm)];
  const documented = Object.fromEntries(rows.map(([, key, value]) => [key, JSON.parse(value!)]));
  assert.deepEqual(documented, { ...DEFAULT_WORKER_CONFIG, weights_cache_size: "auto" });
});

Deno.test("docs/building.md has each task of deno.json, and no other", () => {
  const rows = [...read("docs/building.md").matchAll(/^\| `deno task ([^`]+)`/gm)];
  assert.deepEqual(rows.map(([, task]) => task!).sort(), Object.keys(denoConfig.tasks).sort());
});

Deno.test("README.md has each command, and no other", async () => {
  const section = read("README.md").split(/^## /m).find((text) => text.startsWith("Commands\n"));
  const rows = [...section!.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name!);
  const commands = (await makeProgram([])).commands.map((command) => command.name());
  assert.deepEqual(rows.sort(), commands.sort());
});
