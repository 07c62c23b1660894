/**
 * The registry as text. The first line names the format and has the SHA-256 of the rest; each further line
 * is a record as JSON.
 */
import { createHash } from "node:crypto";
import {
  checkHeader,
  checkLoadedModel,
  type Header,
  MAX_MODELS,
  MAX_PATH_LENGTH,
} from "../../wire/messages.ts";
import { list, record, text, uint } from "../../wire/schema.ts";
import { MAX_UPLOAD_PATH_LENGTH } from "../../wire/upload.ts";
import type { LoadedModel, ModelRange } from "./loading.ts";
import type { Remembered } from "./request_keys.ts";

/** A group of copies, as it is kept. */
export interface RegisteredGroup extends ModelRange {
  /** Addresses of the workers that are to have it; null for all. */
  readonly chosen: readonly string[] | null;
  readonly facts: LoadedModel;
}

type Loaded = Header<"LoadModelResponse">;

export interface RegistryContents {
  /** From which on ids have not been given out. */
  readonly nextId: number;
  readonly groups: readonly RegisteredGroup[];
  /** Answers to requests with keys. */
  readonly loads: readonly Remembered<Loaded>[];
  readonly unloads: readonly Remembered<true>[];
  /** Paths of uploads that workers which were away may still have. */
  readonly removed: readonly string[];
}

/** A registry that cannot be read. The message says what is wrong. */
export class RegistryError extends Error {
  override readonly name = "RegistryError";
}

const FORMAT = "clockwork-registry 1";

const headerRecord = record({ next_id: uint(2 ** 32) });
const groupRecord = record({
  first_id: uint(),
  copies: uint(MAX_MODELS),
  path: text(MAX_PATH_LENGTH),
  facts: checkLoadedModel,
});
const addresses = list(text(256), 4096);
const uploadPath = text(MAX_UPLOAD_PATH_LENGTH);
const keyRecord = record({ key: text(64), asked: text(1_000_000) });

/** Groups do not change: the line of each is made once. */
const groupLines = new WeakMap<RegisteredGroup, string>();

function groupLine(group: RegisteredGroup): string {
  let line = groupLines.get(group);
  if (line === undefined) {
    const { firstId, copies, path, chosen, facts } = group;
    line = JSON.stringify({ first_id: firstId, copies, path, chosen, facts });
    groupLines.set(group, line);
  }
  return line;
}

export function formatRegistry(
  { nextId, groups, loads, unloads, removed }: RegistryContents,
): string {
  const lines = [JSON.stringify({ next_id: nextId })];
  for (const group of groups) lines.push(groupLine(group));
  for (const load of loads) lines.push(JSON.stringify({ load }));
  for (const unload of unloads) lines.push(JSON.stringify({ unload }));
  for (const path of removed) lines.push(JSON.stringify({ removed: path }));
  const body = lines.join("\n") + "\n";
  return `${FORMAT} ${sha256(body)}\n${body}`;
}

/** @throws {RegistryError} when it is damaged, or of another version. */
export function parseRegistry(content: string): RegistryContents {
  const end = content.indexOf("\n");
  const match = /^(clockwork-registry \d+) ([0-9a-f]{64})$/.exec(
    content.slice(0, Math.max(0, end)),
  );
  if (match === null) throw new RegistryError("its first line is not that of a registry");
  if (match[1] !== FORMAT) {
    throw new RegistryError(`it is a ${match[1]}, and this controller reads ${FORMAT}`);
  }
  const body = content.slice(end + 1);
  if (sha256(body) !== match[2]) {
    throw new RegistryError("its checksum is wrong: the file is damaged, or was changed by hand");
  }
  let nextId = 0;
  const groups: RegisteredGroup[] = [];
  const loads: Remembered<Loaded>[] = [];
  const unloads: Remembered<true>[] = [];
  const removed: string[] = [];
  for (const [i, line] of body.split("\n").slice(0, -1).entries()) {
    try {
      const value = JSON.parse(line);
      if (i === 0) nextId = headerRecord(value, "header").next_id;
      else if ("load" in value) loads.push(keptLoad(value.load));
      else if ("unload" in value) unloads.push({ ...keyOf(value.unload), answer: true });
      else if ("removed" in value) removed.push(uploadPath(value.removed, "removed"));
      else groups.push(keptGroup(value));
    } catch (error) {
      throw new RegistryError(`line ${i + 2}: ${(error as Error).message}`);
    }
  }
  return { nextId, groups, loads, unloads, removed };
}

function keptGroup(value: { chosen?: unknown }): RegisteredGroup {
  const { first_id: firstId, copies, path, facts } = groupRecord(value, "group");
  const chosen = value.chosen === null ? null : addresses(value.chosen, "chosen");
  return { firstId, copies, path, chosen, facts };
}

function keptLoad(value: { answer?: unknown }): Remembered<Loaded> {
  return { ...keyOf(value), answer: checkHeader("LoadModelResponse", value.answer) };
}

function keyOf(value: unknown): { key: string; asked: string } {
  const { key, asked } = keyRecord(value, "key");
  return { key, asked };
}

function sha256(content: string): string {
  return createHash("sha256").update(content).digest("hex");
}
