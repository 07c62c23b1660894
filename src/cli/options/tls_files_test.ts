/** A cluster that speaks TLS, as real processes. */
import assert from "node:assert/strict";
import { connect } from "../../client/mod.ts";
import { TestAuthority } from "../../wire/testing_tls.ts";
import type { TlsIdentity } from "../../wire/tls.ts";
import { UsageError } from "../exit.ts";
import { Processes } from "../testing.ts";
import { readTls } from "./tls_files.ts";

/** Files that options can name. */
async function write(directory: string, name: string, { cert, key, ca }: TlsIdentity) {
  const files = {
    tlsCert: `${directory}/${name}.crt`,
    tlsKey: `${directory}/${name}.key`,
    tlsCa: `${directory}/${name}-ca.crt`,
  };
  await Deno.writeTextFile(files.tlsCert, cert);
  await Deno.writeTextFile(files.tlsKey, key);
  await Deno.writeTextFile(files.tlsCa, ca);
  return files;
}

Deno.test("nodes with certificates of one authority work together; others are refused", async () => {
  await using processes = new Processes();
  const directory = await Deno.makeTempDir();
  try {
    const authority = await TestAuthority.make();
    const node = await authority.identity();
    const files = await write(directory, "node", node);
    const env = {
      CLOCKWORK_TLS_CERT: files.tlsCert,
      CLOCKWORK_TLS_KEY: files.tlsKey,
      CLOCKWORK_TLS_CA: files.tlsCa,
    };
    const args = ["--tls-cert", files.tlsCert, "--tls-key", files.tlsKey, "--tls-ca", files.tlsCa];
    const worker = await processes.worker(["worker-dummy", ...args]);
    const controller = await processes.controllerOf(`${worker.address},join`, args);
    const joining = processes.start(["worker-dummy", "--join", controller.address], env);
    await joining.printed("Joined controller");

    const run = ["client", controller.address, "simple", "--duration", "1s", "--wait", "1ms"];
    const [right, plain] = await Promise.all([
      processes.start(run, env).ended,
      processes.start(run).ended,
    ]);
    assert.equal(right.code, 0, right.stderr);
    assert.equal(plain.code, 1);
    assert.match(plain.stderr, /the peer speaks TLS: give certificates to both sides/);
    const foreign = await (await TestAuthority.make()).identity();
    await assert.rejects(
      connect(controller.address, { tls: { ...foreign, ca: node.ca } }),
      /it is not signed by this node's authority/,
    );
    const clockwork = await connect(controller.address, { tls: node });
    await clockwork.ls();
    await clockwork.close();
    for (const process of [controller.process, worker.process, joining]) {
      process.signal("SIGTERM");
      assert.equal((await process.ended).code, 0);
    }
    const { stdout, stderr } = controller.process;
    assert.match(stderr, /was refused: .*the peer does not speak TLS/);
    const secret = node.key.split("\n")[1]!;
    assert.ok(!(stdout + stderr + worker.process.stdout).includes(secret));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("files that cannot be used are refused by name, and no secret is told", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const authority = await TestAuthority.make();
    const node = await authority.identity();
    const good = await write(directory, "good", node);
    const other = await write(directory, "other", await authority.identity());
    const old = await write(directory, "old", await authority.identity({ days: [-2, -1] }));
    const junk = `${directory}/junk`;
    await Deno.writeTextFile(
      junk,
      `-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----`,
    );
    assert.deepEqual(readTls(good), node);
    assert.equal(readTls({}), null);
    const { tlsCert, tlsKey } = good;
    const wrong: [Parameters<typeof readTls>[0], RegExp][] = [
      [{ tlsCert, tlsKey }, /^TLS needs all of --tls-cert, --tls-key and --tls-ca/],
      [{ ...good, tlsKey: other.tlsKey }, /key in .*other.key is not that of .*good.crt/],
      [{ ...good, tlsKey: junk }, /^.*junk holds no private key in PEM that can be read$/],
      [{ ...good, tlsCert: tlsKey }, /good.key holds no certificate in PEM/],
      [{ ...good, tlsCa: tlsCert }, /good.crt: CN=localhost is no authority/],
      [{ ...good, tlsCa: `${directory}/none` }, /cannot read a file for TLS: .*none/],
      [old, /the certificate in .*old.crt is valid from .* to .*, not now/],
    ];
    for (const [options, message] of wrong) {
      assert.throws(() => readTls(options), (error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, message);
        assert.ok(!error.message.includes("hunter2"));
        return true;
      });
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
