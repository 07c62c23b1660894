/** Uploads to real workers, over TCP, with the command that people use. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { connect, SECOND } from "../client/mod.ts";
import { Processes } from "./testing.ts";

const MLP = fileURLToPath(new URL("../../testdata/models/mlp", import.meta.url));

Deno.test("a model is uploaded to a real worker, loaded, served, brought to a newcomer, and unloaded", async () => {
  await using processes = new Processes();
  const root = await Deno.makeTempDir();
  try {
    const workerOf = async (name: string) => {
      await Deno.mkdir(`${root}/${name}`);
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
    const outside = await models("load", "/etc/hostname");
    assert.equal(outside.code, 1);
    assert.match(outside.stderr, /^error: .* is not in this worker's model directories, /);
    const unloaded = await models("unload", "0-1");
    assert.equal(unloaded.stdout, "Unloaded models 0-1\n");
    const wrong = await models("unload", "x");
    assert.equal(wrong.code, 2);
    const none = await models("upload", `${root}/first`);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /has neither an \.onnx file nor model\.json\n$/);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
