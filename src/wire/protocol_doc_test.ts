/** Keeps docs/protocol.md true. */
import assert from "node:assert/strict";
import { MAX_TIME_NS } from "../core/clock.ts";
import { ActionStatus, RequestStatus } from "../core/status.ts";
import { DEFAULT_FRAME_LIMITS, encodeFrame, FrameParser, PREFIX_BYTES } from "./frame.ts";
import { checkHeader, type Kind, KIND_NUMBERS, PROTOCOL_VERSION } from "./messages.ts";
import { HeaderError } from "./schema.ts";

const doc = await Deno.readTextFile(new URL("../../docs/protocol.md", import.meta.url));

/** Cells of each row of each table. */
const rows = doc.split("\n").filter((line) => line.startsWith("| ")).map((line) =>
  line.slice(1, -1).split("|").map((cell) => cell.trim())
);

/**
 * The names of all fields of a header, those of maps in it as well, found by asking: a header whose
 * fields are tried with one value after another until none is complained about.
 */
function fieldsOf(kind: Kind): Set<string> {
  const names = new Set<string>();
  /** The field that was read last is the one a complaint is about. */
  let last: () => void = () => assert.fail(`${kind} cannot be satisfied`);
  const map = (depth: number): object => {
    const tried = new Map<string, { candidate: number; values: unknown[] }>();
    return new Proxy({}, {
      get(_target, key) {
        const name = String(key);
        let field = tried.get(name);
        if (field === undefined) {
          const nested = depth < 3 ? [map(depth + 1), [map(depth + 1)]] : [];
          field = { candidate: 0, values: [...nested, 0, "", [0], [""]] };
          tried.set(name, field);
        }
        const asked = field;
        last = () => asked.candidate++;
        names.add(name);
        return asked.values[asked.candidate];
      },
    });
  };
  const header = map(0);
  while (true) {
    try {
      checkHeader(kind, header);
      return names;
    } catch (error) {
      if (!(error instanceof HeaderError)) throw error;
      last();
    }
  }
}

const inTicks = (cell: string) => new Set([...cell.matchAll(/`(\w+)`/g)].map((match) => match[1]!));

Deno.test("the test finds fields by itself", () => {
  assert.deepEqual(fieldsOf("Goodbye"), new Set(["message"]));
  assert.deepEqual(fieldsOf("Ping"), new Set());
  assert.ok(fieldsOf("InferResult").has("begin_ns"));
  assert.ok(fieldsOf("GetWorkerStateResult").has("workspace_pool_size"));
});

Deno.test("every kind is described with its number and all of its fields, and no others", () => {
  const documented = new Map(rows.filter((cells) => /^\d+$/.test(cells[0]!)).map((c) => [c[1], c]));
  for (const [kind, number] of Object.entries(KIND_NUMBERS)) {
    const cells = documented.get(kind);
    assert.ok(cells !== undefined, `${kind} is not described`);
    assert.equal(cells[0], String(number), kind);
    const fields = fieldsOf(kind as Kind);
    assert.deepEqual([...inTicks(cells[2]!)].toSorted(), [...fields].toSorted(), kind);
  }
  const kindRows = rows.filter((cells) => cells.length === 4 && /^[A-Z]\w+$/.test(cells[1]!));
  assert.equal(kindRows.length, Object.keys(KIND_NUMBERS).length);
});

Deno.test("every field is explained, and only fields that exist", () => {
  const explained = rows.filter((cells) => cells.length === 2 && /^`\w+`$/.test(cells[0]!))
    .map((cells) => cells[0]!.slice(1, -1));
  const all = new Set(Object.keys(KIND_NUMBERS).flatMap((kind) => [...fieldsOf(kind as Kind)]));
  assert.deepEqual(explained.toSorted(), [...all].toSorted());
});

Deno.test("every status is listed with its number", () => {
  const statusRows = rows.filter((cells) =>
    /^[a-z]\w+$/.test(cells[1] ?? "") || cells.length === 4
  );
  const listed = new Set(
    statusRows.flatMap((cells) => [`${cells[0]} ${cells[1]}`, `${cells[2]} ${cells[3]}`]),
  );
  for (const statuses of [ActionStatus, RequestStatus]) {
    for (const [name, number] of Object.entries(statuses)) {
      assert.ok(listed.has(`${number} ${name}`), `${number} ${name}`);
    }
  }
});

Deno.test("the example is what we send, and what we read", () => {
  const dump = /```\n(0000 [\s\S]*?)```/.exec(doc)![1]!;
  const bytes = Uint8Array.from(
    dump.trim().split("\n").flatMap((line) => line.slice(4).trim().split(" ")),
    (hex) => parseInt(hex, 16),
  );
  const [frame] = [...new FrameParser().feed(bytes)];
  const { message } = frame!;
  assert.deepEqual(message, {
    kind: "InferRequest",
    id: 7,
    header: { user_id: 1, model_id: 300, batch_size: 1, deadline_ns: 100_000_000, slo_factor: 0 },
    payload: new Uint8Array(Float32Array.of(1).buffer),
  });
  assert.equal(frame!.sentNs, 1_500_000_000);
  const encoded = encodeFrame("InferRequest", 7, message.header, 4, 1_500_000_000, NaN);
  assert.deepEqual(bytes.subarray(0, encoded.length), encoded);
  assert.ok(doc.includes(`the lengths ${encoded.length - PREFIX_BYTES} and 4,`));
});

Deno.test("versions, roles and limits are those of the code", () => {
  assert.ok(doc.includes(`Protocol version ${PROTOCOL_VERSION}, frame format 1.`));
  const limits = new Map(rows.filter((cells) => cells.length === 2).map(([a, b]) => [a, b]));
  const { maxHeaderBytes, maxPayloadBytes } = DEFAULT_FRAME_LIMITS;
  assert.equal(
    limits.get(
      "header of LsResponse, GetWorkerStateResult, ListUploadsResult and ListUploadsResponse",
    ),
    `${maxHeaderBytes / 2 ** 20} MiB`,
  );
  assert.equal(
    limits.get(
      "header of LoadModelFromDiskResult, DescribeModelsResponse and ClusterStateResponse",
    ),
    "1 MiB",
  );
  assert.equal(limits.get("payload"), `${maxPayloadBytes / 2 ** 20} MiB`);
  assert.equal(limits.get("a time or duration"), `2^${Math.log2(MAX_TIME_NS)} ns (36 years)`);
});
