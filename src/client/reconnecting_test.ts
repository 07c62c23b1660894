/** A client whose connection is lost and made again, against controllers that are written out. */
import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { RequestStatus } from "../core/status.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { Client, type ClientOptions } from "./client.ts";
import type { Dialer } from "./dialer.ts";
import { type Model, NO_INPUT } from "./model.ts";
import { type Result, UNDECIDED } from "./result.ts";
import { ScriptedLink } from "./scripted_link.ts";

const NO_ACTIONS = {
  action_id: [],
  action_type: [],
  worker_id: [],
  gpu_id: [],
  model_id: [],
  batch_size: [],
  planned_begin_ns: [],
  planned_end_ns: [],
  status: [],
  begin_ns: [],
  end_ns: [],
};

type Listed = readonly [id: number, path: string];

/** A client and the links that it has had, the present one last. */
class Rig {
  readonly clock = new VirtualClock(7 * SECOND);
  readonly links: ScriptedLink[] = [];
  readonly events: string[] = [];
  readonly settled: { tag: string; result: Result<unknown> }[] = [];
  /** Whether a controller can be connected to. */
  up = true;
  attempts = 0;
  /** For how long, in all, there was no connection. */
  lostNs = 0;
  readonly client: Client;

  constructor(options: ClientOptions = {}, limitNs = 10 * SECOND) {
    const dialer: Dialer = {
      dial: (accept, failed) =>
        this.clock.at(this.clock.now() + MS, () => {
          this.attempts++;
          if (!this.up) return failed("nothing listens there");
          const link = new ScriptedLink(this.clock);
          this.links.push(link);
          link.handler = accept(link);
        }),
    };
    const link = new ScriptedLink(this.clock);
    this.links.push(link);
    this.client = new Client(link, this.clock, {
      reconnect: { dialer, random: new Random(1), limitNs },
      onReconnecting: (reason) => this.events.push(`reconnecting: ${reason}`),
      onReconnected: (afterNs) => {
        this.lostNs += afterNs;
        this.events.push("reconnected");
      },
      onLost: (reason) => this.events.push(`lost: ${reason}`),
      ...options,
    });
    link.handler = this.client;
  }

  get link(): ScriptedLink {
    return this.links.at(-1)!;
  }

  into(tag: string) {
    return (result: Result<unknown>) => void this.settled.push({ tag, result });
  }

  /** What settled, as `tag` or `tag status`. */
  get outcomes(): string[] {
    return this.settled.map(({ tag, result }) => result.ok ? tag : `${tag} ${result.status}`);
  }

  cut(reason = "connection reset"): void {
    this.link.handler!.onClose(reason);
  }

  /** Cuts the connection and lets it be made again. */
  reconnect(): void {
    const before = this.links.length;
    this.cut();
    this.clock.advance(100 * MS);
    assert.equal(this.links.length, before + 1);
  }

  /** Answers the last question for the list, on the present link. */
  list(...models: Listed[]): void {
    const asked = this.link.sentOf("LsRequest").at(-1)!;
    this.link.deliver("LsResponse", asked.id, {
      models: models.map(([id, path]) => ({
        model_id: id,
        model_path: path,
        input_size: 4,
        output_size: 2,
      })),
    });
  }

  initializing(): void {
    const asked = this.link.sentOf("LsRequest").at(-1)!;
    this.link.deliver("ErrorResponse", asked.id, {
      request_type: 2,
      status: RequestStatus.initializing,
      message: "Controller initializing",
    });
  }

  answerLoad(firstId: number): void {
    const { id, header } = this.link.sentOf("LoadModelRequest").at(-1)!;
    this.link.deliver("LoadModelResponse", id, {
      model_id: firstId,
      copies_created: header.no_of_copies,
      input_size: 4,
      output_size: 2,
    });
  }

  load(path: string, copies: number, firstId: number): readonly Model[] {
    let models: readonly Model[] = [];
    this.client.loadModel(path, copies, (result) => {
      assert.ok(result.ok);
      models = result.value;
    });
    this.answerLoad(firstId);
    assert.equal(models.length, copies);
    return models;
  }

  infer(model: Model, tag: string, deadlineNs?: number): void {
    const options = deadlineNs === undefined ? {} : { deadlineNs };
    this.client.infer(model, NO_INPUT, options, this.into(tag));
  }

  /** The models that inferences were asked for on the present link. */
  get inferred(): number[] {
    return this.link.sentOf("InferRequest").map(({ header }) => header.model_id);
  }
}

Deno.test("what waits is sent again under its own id, with the time that is left, once models are checked", () => {
  const rig = new Rig();
  const [a] = rig.load("a", 1, 5);
  rig.infer(a!, "sent", 500 * MS);
  const [first] = rig.link.sentOf("InferRequest");
  rig.clock.advance(10 * MS);
  rig.cut();
  rig.infer(a!, "new", 500 * MS);
  rig.clock.advance(100 * MS);
  assert.deepEqual(rig.events, ["reconnecting: connection reset", "reconnected"]);
  assert.ok(rig.lostNs > 10 * MS && rig.lostNs < 50 * MS);
  assert.deepEqual(rig.inferred, [], "ids are not known to be right yet");
  rig.list([5, "a"]);
  const again = rig.link.sentOf("InferRequest");
  assert.equal(again.length, 2);
  assert.equal(again[0]!.id, first!.id);
  assert.equal(again[0]!.header.deadline_ns, 390 * MS);
  assert.equal(again[1]!.header.deadline_ns, 400 * MS);
  for (const { id } of again) rig.link.deliver("InferResponse", id, { output_size: 0 });
  assert.deepEqual(rig.outcomes, ["sent", "new"]);
  // An answer of the controller before, had it come so late, finds nobody.
  rig.link.deliver("InferResponse", first!.id, { output_size: 0 });
  assert.equal(rig.client.strayAnswers, 1);
  assert.equal(rig.settled.length, 2);
  assert.equal(rig.client.reconnects, 1);
  assert.equal(rig.clock.pending, 0);
});

Deno.test("ids are not used twice, whatever becomes of connections", () => {
  const rig = new Rig();
  const [a] = rig.load("a", 1, 0);
  const seen = new Set<number>();
  for (let life = 0; life < 5; life++) {
    for (let i = 0; i < 10; i++) rig.infer(a!, "x", SECOND);
    rig.reconnect();
    for (const { id } of rig.links.at(-2)!.sent) {
      assert.ok(life > 0 || !seen.has(id));
      seen.add(id);
    }
    rig.list([0, "a"]);
  }
  const ids = rig.link.sent.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(rig.inferred.length, 10);
});

Deno.test("an inference is sent once more, and not again: it may be what ends the connections", () => {
  const rig = new Rig();
  const [a] = rig.load("a", 1, 0);
  rig.infer(a!, "twice", 10 * SECOND);
  rig.client.evict(a!, rig.into("evict"));
  rig.reconnect();
  rig.infer(a!, "later", 10 * SECOND);
  // Not under way: models have not been checked.
  rig.reconnect();
  rig.list([0, "a"]);
  assert.deepEqual(rig.inferred, [0, 0]);
  rig.cut("protocol error: payload of 1600000 bytes, limit 1048576");
  assert.deepEqual(rig.outcomes, [`twice ${UNDECIDED}`]);
  const [{ result }] = rig.settled as [typeof rig.settled[number]];
  assert.ok(!result.ok);
  assert.match(result.message, /payload of 1600000 bytes, limit 1048576$/);
  rig.clock.advance(100 * MS);
  rig.list([0, "a"]);
  assert.deepEqual(rig.inferred, [0]);
  assert.equal(rig.link.sentOf("EvictRequest").length, 1);
});

Deno.test("until its deadline, and undecided or never sent then", () => {
  const rig = new Rig();
  const [a] = rig.load("a", 1, 0);
  rig.infer(a!, "sent", 300 * MS);
  rig.infer(a!, "unknown deadline");
  rig.client.infer(a!, NO_INPUT, { sloFactor: 9, deadlineNs: SECOND }, rig.into("by factor"));
  rig.up = false;
  rig.cut();
  // Only the controller knew these deadlines.
  assert.deepEqual(rig.outcomes, [`unknown deadline ${UNDECIDED}`, `by factor ${UNDECIDED}`]);
  rig.infer(a!, "new", 100 * MS);
  rig.infer(a!, "new, unknown deadline");
  rig.clock.advance(99 * MS);
  assert.deepEqual(rig.outcomes.slice(2), ["new, unknown deadline 10"]);
  rig.clock.advance(MS);
  assert.deepEqual(rig.outcomes.slice(3), ["new 10"]);
  rig.clock.advance(199 * MS);
  assert.equal(rig.outcomes.length, 4);
  rig.clock.advance(MS);
  assert.deepEqual(rig.outcomes.slice(4), [`sent ${UNDECIDED}`]);
  for (const { tag, result } of rig.settled) {
    assert.ok(!result.ok);
    assert.equal(result.from, "client");
    assert.equal(/^never sent: /.test(result.message), tag.startsWith("new"), result.message);
    assert.match(result.message, /the connection to controller:12346 was lost: connection reset/);
  }
  rig.up = true;
  rig.clock.advance(SECOND);
  rig.list([0, "a"]);
  assert.deepEqual(rig.inferred, []);
});

Deno.test("a client gives up after its time, and settles what waits", () => {
  const rig = new Rig({}, 2 * SECOND);
  rig.client.ls(rig.into("ls"));
  rig.up = false;
  rig.cut();
  rig.client.loadModel("a", 1, rig.into("load"));
  rig.clock.advance(SECOND);
  assert.deepEqual(rig.outcomes, []);
  assert.equal(rig.clock.pending, 1, "the next attempt; these have no deadline");
  assert.ok(rig.attempts >= 3 && rig.attempts < 20, `${rig.attempts} attempts`);
  rig.clock.advance(2 * SECOND);
  assert.deepEqual(rig.outcomes, [`ls ${UNDECIDED}`, "load 10"]);
  assert.match(
    rig.events.at(-1)!,
    /^lost: connection reset; it could not be made again within 2 s: nothing listens there$/,
  );
  assert.match(rig.client.closedBecause!, /^the connection to .* was lost: connection reset; /);
  assert.equal(rig.clock.pending, 0);
});

Deno.test("a client that is closed while it connects again does not connect", () => {
  const rig = new Rig();
  rig.cut();
  let ended = 0;
  rig.client.close(() => ended++);
  rig.clock.advance(SECOND);
  assert.deepEqual([ended, rig.attempts, rig.links.length], [1, 0, 1]);
});

Deno.test("a program may close the client when it hears of a failure: nothing settles twice", () => {
  const closing = (rig: Rig, tag: string) => (result: Result<unknown>) => {
    rig.into(tag)(result);
    rig.client.close();
  };
  // As the connection is lost: these cannot wait for another.
  const lost = new Rig();
  const [a] = lost.load("a", 1, 0);
  lost.client.infer(a!, NO_INPUT, {}, closing(lost, "first"));
  lost.infer(a!, "second");
  lost.infer(a!, "waiting", SECOND);
  lost.cut();
  // When it has been made again: their models are gone.
  const gone = new Rig();
  let listed: readonly Model[] = [];
  gone.client.ls((result) => {
    assert.ok(result.ok);
    listed = result.value;
  });
  gone.list([0, "a"]);
  gone.cut();
  gone.client.infer(listed[0]!, NO_INPUT, { deadlineNs: SECOND }, closing(gone, "first"));
  gone.infer(listed[0]!, "second", SECOND);
  gone.infer(listed[0]!, "waiting", SECOND);
  gone.clock.advance(100 * MS);
  gone.list([0, "b"]);
  for (const { settled, clock, client } of [lost, gone]) {
    clock.advance(2 * SECOND);
    assert.deepEqual(settled.map(({ tag }) => tag), ["first", "second", "waiting"]);
    assert.equal(client.outstanding, 0);
    assert.equal(clock.pending, 0);
  }
});

Deno.test("a controller that knows nothing is asked for the models again, with the same keys", () => {
  const rig = new Rig();
  const copies = rig.load("a", 2, 0);
  const [b] = rig.load("b", 1, 2);
  const keys = rig.link.sentOf("LoadModelRequest").map(({ header }) => header.key);
  assert.equal(new Set(keys).size, 2);
  for (const key of keys) assert.match(key, /^[0-9a-f]{32}$/);
  rig.reconnect();
  rig.infer(copies[1]!, "a", SECOND);
  rig.infer(b!, "b", SECOND);
  rig.initializing();
  const loads = rig.link.sentOf("LoadModelRequest");
  assert.deepEqual(loads.map(({ header }) => header.key), keys);
  // Another client's model came first.
  for (const [i, { id, header }] of loads.entries()) {
    rig.link.deliver("LoadModelResponse", id, {
      model_id: [7, 0][i]!,
      copies_created: header.no_of_copies,
      input_size: 4,
      output_size: 2,
    });
  }
  rig.clock.advance(100 * MS);
  assert.deepEqual(rig.inferred, []);
  rig.list([0, "b"], [1, "c"], [7, "a"], [8, "a"]);
  assert.deepEqual(rig.inferred, [8, 0]);
  assert.deepEqual(copies.map(({ id }) => id), [7, 8]);
  assert.equal(b!.id, 0);
});

Deno.test("models that a serving controller does not list are loaded again, and those that it lists are not", () => {
  const rig = new Rig();
  const [a] = rig.load("a", 1, 0);
  const [b] = rig.load("b", 1, 1);
  rig.reconnect();
  rig.infer(a!, "a", SECOND);
  rig.infer(b!, "b", SECOND);
  // The other's model has the id now.
  rig.list([0, "x"], [1, "b"]);
  assert.deepEqual(rig.inferred, [1], "b can go on; a cannot be asked for by an id that is x's");
  assert.deepEqual(rig.link.sentOf("LoadModelRequest").map(({ header }) => header.model_path), [
    "a",
  ]);
  rig.answerLoad(2);
  rig.list([0, "x"], [1, "b"], [2, "a"]);
  assert.deepEqual(rig.inferred, [1, 2]);
  assert.equal(a!.id, 2);
});

Deno.test("a model that was unloaded meanwhile is gone, and says so, as does one that cannot be loaded", () => {
  const rig = new Rig();
  const [a] = rig.load("a", 1, 0);
  const [b] = rig.load("b", 1, 1);
  rig.reconnect();
  rig.infer(a!, "a", SECOND);
  rig.infer(b!, "b", SECOND);
  rig.list([2, "c"]);
  const [loadA, loadB] = rig.link.sentOf("LoadModelRequest");
  // A controller that remembers the key answers as it did, though the model has been unloaded since.
  rig.link.deliver("LoadModelResponse", loadA!.id, {
    model_id: 0,
    copies_created: 1,
    input_size: 4,
    output_size: 2,
  });
  rig.link.deliver("ErrorResponse", loadB!.id, {
    request_type: 3,
    status: RequestStatus.invalidRequest,
    message: "no room",
  });
  rig.clock.advance(200 * MS);
  rig.list([2, "c"]);
  rig.infer(a!, "a later", SECOND);
  rig.client.evict(a!, rig.into("evict"));
  rig.clock.advance(0);
  assert.deepEqual(rig.outcomes.toSorted(), ["a 6", "a later 6", "b 6", "evict 6"]);
  const messages = rig.settled.map(({ result }) => result.ok ? "" : result.message).join("\n");
  assert.match(messages, /a was model 0 before the connection was lost: it has been unloaded/);
  assert.match(messages, /b was model 1 before .*: it could not be loaded again: no room/);
  assert.deepEqual(rig.inferred, []);
  // For good: the next controller is not asked for them.
  rig.reconnect();
  rig.initializing();
  assert.deepEqual(rig.link.sentOf("LoadModelRequest"), []);
});

Deno.test("a model that others loaded is found again by its path, or is gone", () => {
  const rig = new Rig();
  let listed: readonly Model[] = [];
  const ls = () => {
    rig.client.ls((result) => {
      assert.ok(result.ok);
      listed = result.value;
    });
  };
  ls();
  rig.list([0, "a"], [1, "a"], [2, "b"]);
  const [a0, a1, b] = listed;
  rig.reconnect();
  rig.list([0, "b2"], [1, "a"], [3, "a"]);
  for (const [model, tag] of [[a0, "a0"], [a1, "a1"], [b, "b"]] as const) rig.infer(model!, tag);
  rig.clock.advance(0);
  assert.deepEqual(rig.inferred, [3, 1]);
  assert.deepEqual(rig.outcomes, ["b 6"]);
  ls();
  rig.list([0, "b2"], [1, "a"], [3, "a"]);
  assert.deepEqual([listed[1] === a1, listed[2] === a0], [true, true]);
  // What a program made itself is taken by id and path together.
  rig.client.infer({ ...a1!, id: 3 }, NO_INPUT, {}, rig.into("made"));
  rig.client.infer({ ...a1!, id: 0 }, NO_INPUT, {}, rig.into("made wrong"));
  rig.clock.advance(0);
  assert.deepEqual(rig.inferred, [3, 1, 3]);
  assert.deepEqual(rig.outcomes, ["b 6", "made wrong 6"]);
});

Deno.test("an unload is finished, once: its model is never found again by its path", () => {
  const rig = new Rig();
  const [first, second] = rig.load("a", 2, 0);
  rig.client.unloadModel(first!, rig.into("done before"));
  rig.client.unloadModel(second!, rig.into("not yet"));
  const keys = rig.link.sentOf("UnloadModelRequest").map(({ header }) => header.key);
  rig.reconnect();
  rig.list([1, "a"], [5, "a"]);
  assert.deepEqual(rig.outcomes, ["done before"]);
  const [again] = rig.link.sentOf("UnloadModelRequest");
  assert.deepEqual([again!.header.model_id, again!.header.key], [1, keys[1]]);
  rig.link.deliver("UnloadModelResponse", again!.id, {});
  assert.deepEqual(rig.outcomes, ["done before", "not yet"]);
  assert.deepEqual(rig.link.sentOf("LoadModelRequest"), []);
});

Deno.test("a copy that was unloaded does not come back with the others", () => {
  const rig = new Rig();
  const [first, second] = rig.load("a", 2, 0);
  rig.client.unloadModel(first!, rig.into("unloaded"));
  rig.link.deliver("UnloadModelResponse", rig.link.sent.at(-1)!.id, {});
  rig.reconnect();
  rig.initializing();
  rig.answerLoad(0);
  const unloads = rig.link.sentOf("UnloadModelRequest").map(({ header }) => header);
  assert.deepEqual(unloads.map((header) => [header.model_id, header.no_of_copies]), [[0, 1]]);
  rig.clock.advance(100 * MS);
  rig.list([1, "a"]);
  rig.infer(second!, "second");
  assert.deepEqual(rig.inferred, [1]);
});

Deno.test("copies that were unloaded by their numbers do not come back either", () => {
  const rig = new Rig();
  const [, , third] = rig.load("a", 3, 0);
  rig.load("b", 2, 3);
  rig.client.unloadModels(3, 2, rig.into("not yet"));
  rig.client.unloadModels(0, 2, rig.into("a"));
  rig.client.unloadModels(3, 2, rig.into("b"));
  const [failed, ...unloads] = rig.link.sentOf("UnloadModelRequest");
  rig.link.deliver("ErrorResponse", failed!.id, { request_type: 4, status: 1, message: "busy" });
  for (const { id } of unloads) rig.link.deliver("UnloadModelResponse", id, {});
  assert.deepEqual(rig.outcomes, ["not yet 1", "a", "b"]);
  rig.reconnect();
  rig.initializing();
  assert.deepEqual(rig.link.sentOf("LoadModelRequest").map(({ header }) => header.model_path), [
    "a",
  ]);
  rig.answerLoad(7);
  assert.deepEqual(
    rig.link.sentOf("UnloadModelRequest").map(({ header }) => header.model_id),
    [7, 8],
  );
  rig.clock.advance(100 * MS);
  rig.list([9, "a"]);
  assert.equal(third!.id, 9);
});

Deno.test("of a model that is unloaded nothing is kept, and of others all", () => {
  const rig = new Rig();
  const before = rig.load("a", 5, 10);
  rig.reconnect();
  rig.list([10, "a"], [11, "a"], [12, "a"], [13, "a"], [14, "a"]);
  rig.client.unloadModels(11, 2, rig.into("two"));
  rig.client.unloadModel(before[4]!, rig.into("one"));
  for (const { id } of rig.link.sentOf("UnloadModelRequest")) {
    rig.link.deliver("UnloadModelResponse", id, {});
  }
  const [, last] = rig.link.sentOf("UnloadModelRequest");
  assert.deepEqual([last!.header.model_id, last!.header.no_of_copies], [14, 1]);
  for (const model of before) rig.infer(model, `${model.id}`);
  rig.clock.advance(0);
  assert.deepEqual(rig.inferred, [10, 13]);
  assert.deepEqual(rig.outcomes, ["two", "one", "11 6", "12 6", "14 6"]);
  // A list is of all there are: what is not on it is gone as well.
  rig.client.ls(() => {});
  rig.list([13, "a"]);
  rig.infer(before[0]!, "10");
  rig.clock.advance(0);
  assert.deepEqual(rig.outcomes.slice(5), ["10 6"]);
  rig.reconnect();
  rig.initializing();
  assert.equal(rig.link.sentOf("LoadModelRequest").length, 1);
  for (const copy of [0, 3]) rig.client.unloadModel(before[copy]!, rig.into("the last"));
  rig.reconnect();
  rig.initializing();
  assert.deepEqual(rig.link.sentOf("LoadModelRequest"), []);
});

Deno.test("an unload by number, while nothing is known of numbers, forgets no model", () => {
  const rig = new Rig();
  const [a] = rig.load("a", 1, 0);
  rig.reconnect();
  rig.client.unloadModels(0, 1, rig.into("another's"));
  rig.link.deliver("UnloadModelResponse", rig.link.sent.at(-1)!.id, {});
  rig.list([1, "a"]);
  // Loaded again, with its key: a controller that remembers it tells where it is.
  rig.answerLoad(1);
  rig.list([1, "a"]);
  rig.infer(a!, "a");
  assert.deepEqual(rig.inferred, [1]);
});

Deno.test("an unload by number is not sent again: the number may be another's by then", () => {
  const rig = new Rig();
  rig.load("a", 1, 0);
  rig.client.unloadModels(0, 1, rig.into("unload"));
  rig.reconnect();
  assert.deepEqual(rig.outcomes, [`unload ${UNDECIDED}`]);
  rig.list([0, "b"]);
  assert.deepEqual(rig.link.sentOf("UnloadModelRequest"), []);
});

Deno.test("loads that fail for now are tried for half a minute, one at a time", () => {
  const retries: string[] = [];
  const rig = new Rig({ onRetry: (message) => retries.push(message) });
  const [a] = rig.load("a", 1, 0);
  const [b] = rig.load("b", 1, 1);
  rig.reconnect();
  rig.infer(a!, "a", 60 * SECOND);
  rig.infer(b!, "b", 60 * SECOND);
  rig.initializing();
  rig.clock.advance(100 * MS);
  // Still initializing, and the loads are on their way.
  rig.initializing();
  assert.deepEqual(retries, ["Controller initializing", "Controller initializing"]);
  rig.clock.advance(100 * MS);
  assert.equal(rig.link.sentOf("LoadModelRequest").length, 2);
  rig.list();
  assert.equal(rig.link.sentOf("LoadModelRequest").length, 2);
  let [loadA, loadB] = rig.link.sentOf("LoadModelRequest");
  rig.link.deliver("ErrorResponse", loadA!.id, {
    request_type: 3,
    status: RequestStatus.initializing,
    message: "Controller initializing",
  });
  rig.clock.advance(99 * MS);
  assert.equal(rig.link.sentOf("LoadModelRequest").length, 2);
  rig.clock.advance(MS);
  loadA = rig.link.sentOf("LoadModelRequest")[2];
  assert.equal(loadA!.header.model_path, "a");
  const answer = { model_id: 7, copies_created: 1, input_size: 4, output_size: 2 };
  rig.link.deliver("LoadModelResponse", loadA!.id, answer);
  const lists = rig.link.sentOf("LsRequest").length;
  const fail = (id: number, status: number) =>
    rig.link.deliver("ErrorResponse", id, { request_type: 3, status, message: "no worker" });
  fail(loadB!.id, RequestStatus.unavailable);
  while (!rig.outcomes.includes("b 6")) {
    assert.equal(rig.link.sentOf("LsRequest").length, lists, "b has not been answered");
    rig.clock.advance(100 * MS);
    fail(rig.link.sentOf("LoadModelRequest").at(-1)!.id, RequestStatus.error);
  }
  const tookNs = rig.clock.now() - rig.link.sent[0]!.atNs;
  assert.ok(tookNs >= 30 * SECOND && tookNs < 30.2 * SECOND, `${tookNs}`);
  rig.list([7, "a"]);
  assert.deepEqual(rig.inferred, [7]);
});

Deno.test("a load that was under way is asked for once more, with its key, and settles once", () => {
  const rig = new Rig();
  rig.client.loadModel("a", 1, rig.into("load"));
  const [before] = rig.link.sentOf("LoadModelRequest");
  rig.reconnect();
  const loads = rig.link.sentOf("LoadModelRequest");
  assert.deepEqual(loads.map(({ header }) => header.key), [before!.header.key]);
  rig.initializing();
  rig.answerLoad(3);
  assert.deepEqual(rig.outcomes, ["load"]);
  rig.clock.advance(100 * MS);
  rig.list([3, "a"]);
  assert.equal(rig.link.sentOf("LoadModelRequest").length, 1);
});

Deno.test("a request between two tries is asked again over the next connection", () => {
  const rig = new Rig();
  rig.client.ls(rig.into("ls"));
  rig.initializing();
  rig.up = false;
  rig.cut();
  // Its next try falls into the time without a connection.
  rig.clock.advance(SECOND);
  rig.up = true;
  rig.clock.advance(SECOND);
  rig.list([0, "a"]);
  const asked = rig.link.sentOf("LsRequest");
  assert.equal(asked.length, 2, "the client's own question, and then the program's");
  assert.deepEqual(rig.outcomes, []);
  rig.list([0, "a"]);
  assert.deepEqual(rig.outcomes, ["ls"]);
  assert.deepEqual([rig.client.outstanding, rig.clock.pending], [0, 0]);
});

Deno.test("a client that is closed while models are being checked leaves nothing behind", () => {
  const rig = new Rig();
  rig.load("a", 1, 0);
  rig.reconnect();
  rig.initializing();
  rig.client.close();
  assert.equal(rig.clock.pending, 0);
});

Deno.test("what a controller told counts for that controller only", () => {
  const rig = new Rig();
  const state = {
    cursor: 9,
    state: "serving",
    now_ns: 0,
    unanswered: 0,
    no_of_models: 0,
    no_of_workers: 0,
    no_of_gpus: 0,
    workers: [],
    gpus: [],
    model_figures: [],
    seconds: [],
    actions: NO_ACTIONS,
    planned_actions: NO_ACTIONS,
    events: [],
  };
  const models = { revision: 8, state: "serving", default_slo_ns: 0, models: [], next_model_id: 0 };
  /** What is asked with, knowing what the last answers said. */
  const ask = () => {
    rig.client.clusterState(9, () => {});
    rig.client.describeModels(8, () => {});
    const [watch] = rig.link.sentOf("ClusterStateRequest").slice(-1);
    const [describe] = rig.link.sentOf("DescribeModelsRequest").slice(-1);
    const asked = [watch!.header.cursor, describe!.header.revision];
    rig.link.deliver("ClusterStateResponse", watch!.id, state);
    rig.link.deliver("DescribeModelsResponse", describe!.id, models);
    return asked;
  };
  ask();
  assert.deepEqual(ask(), [9, 8]);
  rig.reconnect();
  assert.deepEqual(ask(), [0, 0]);
  assert.deepEqual(ask(), [9, 8]);
});

Deno.test("a connection that is lost while models are being checked is no end", () => {
  const rig = new Rig();
  const [a] = rig.load("a", 1, 0);
  rig.infer(a!, "a", 10 * SECOND);
  rig.reconnect();
  rig.initializing();
  rig.cut("reset again");
  rig.clock.advance(SECOND);
  rig.initializing();
  rig.answerLoad(4);
  rig.clock.advance(100 * MS);
  rig.list([4, "a"]);
  assert.deepEqual(rig.inferred, [4]);
  assert.equal(rig.client.reconnects, 2);
  assert.deepEqual(rig.outcomes, []);
});
