/** Uploads to real workers, over TCP, with the command that people use. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { connect, SECOND } from "../client/mod.ts";
import { Processes } from "./testing.ts";

const MLP = fileURLToPath(new URL("../../testdata/models/mlp", import.meta.url));

Deno.test("a model is uploaded to a real worker, loaded, served, brought to a newcomer, unloaded and removed", async () => {
  await using processes = new Processes();
  const root = await Deno.makeTempDir();
  try {
    const workerOf = async (name: string) => {
      await Deno.mkdir(`${root}/${name}`, { recursive: true });
      const args = ["worker", "--device", "wasm", "--model-dir", `${root}/${name}`];
      return await processes.worker(args);
    };
    const first = await workerOf("first");
    await Deno.writeTextFile(`${root}/workers`, first.address);
    const controller = await processes.controllerOf(`@${root}/workers`);
    const models = (command: string, ...args: string[]) =>
      processes.start(["models", command, controller.address, ...args]).ended;

    const uploaded = await models("upload", MLP, "--load", "2");
    assert.equal(uploaded.code, 0, uploaded.stderr);
    const path = /^Loaded (uploads\/mlp\/[0-9a-f]{16}) as models 0-1\n$/.exec(uploaded.stdout)?.[1];
    assert.ok(path !== undefined, uploaded.stdout);
    const again = await models("upload", MLP);
    assert.equal(again.stdout, `${path} was there already\n`);
    const folder = `${root}/first/${path}`;
    assert.deepEqual(
      await Deno.readFile(`${folder}/model.onnx`),
      await Deno.readFile(`${MLP}/model.onnx`),
    );

    const client = await connect(controller.address);
    const [model] = await client.ls();
    const infer = () => client.infer(model!, null, { deadlineNs: 30 * SECOND });
    const output = await infer();
    assert.equal(output.length, model!.outputBytes);

    // The second gets the files from the first, and serves alone.
    const second = await workerOf("second");
    await Deno.writeTextFile(`${root}/workers`, `${first.address}\n${second.address}\n`);
    await controller.process.printed(/^Worker 1 serves with /m);
    first.process.kill();
    await controller.process.printed(/^Worker 0 .* lost: /m);
    assert.deepEqual(await infer(), output);
    await client.close();

    const listed = await models("ls");
    assert.match(listed.stdout, /^models 0-1 +ready +uploads\/mlp\/[0-9a-f]{16}\n$/);
    const uploads = await models("uploads");
    assert.match(uploads.stdout, /^ *\d+\.\d KB {2}1 worker +2 copies +uploads\/mlp\/\S+\n$/);
    const inUse = await models("remove", path);
    assert.equal(inUse.code, 1);
    assert.match(inUse.stderr, /is loaded as models 0-1: unload them first\n$/);
    const outside = await models("load", "/etc/hostname");
    assert.equal(outside.code, 1);
    assert.match(outside.stderr, /^error: .* is not in this worker's model directories, /);
    const unloaded = await models("unload", "0-1");
    assert.equal(unloaded.stdout, "Unloaded models 0-1\n");

    // The second worker's disk is free again, and so is the first one's when it is back.
    const removed = await models("remove", path);
    assert.equal(removed.stdout, `Removed ${path} from 1 worker\n`, removed.stderr);
    const folder2 = `${root}/second/${path}`;
    await assert.rejects(Deno.stat(folder2), Deno.errors.NotFound);
    const gone = await models("remove", path);
    assert.deepEqual([gone.code, gone.stdout], [0, `${path} was not there\n`]);
    assert.equal((await models("uploads", "--json")).stdout, "[]\n");
    await Deno.stat(folder);
    const third = await workerOf("first");
    await Deno.writeTextFile(`${root}/workers`, `${third.address}\n${second.address}\n`);
    await third.process.printed(/^Sending R\d+:RemoveUploads removed=1$/m);
    await assert.rejects(Deno.stat(folder), Deno.errors.NotFound);
    const wrong = await models("unload", "x");
    assert.equal(wrong.code, 2);
    const none = await models("upload", `${root}/first`);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /has neither an \.onnx file nor model\.json\n$/);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
