/** Lists of workers that change: real sockets on this machine, in virtual time. */
import assert from "node:assert/strict";
import { SECOND } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import type { Link } from "../wire/link.ts";
import { type Address, formatAddress, listen } from "../wire/tcp.ts";
import { WorkerConnections } from "./worker_connections.ts";

/** A worker that only listens, and why its link ended. */
function listening() {
  const { promise: ended, resolve: onClose } = Promise.withResolvers<string>();
  const listener = listen(
    { hostname: "127.0.0.1", port: 0 },
    new VirtualClock(),
    { role: "worker", peerRoles: ["controller"] },
    () => ({ onMessage: () => {}, onClose }),
  );
  return { listener, address: listener.address, ended };
}

/** Connections that follow a name whose addresses `name.read` tells; at first those given. */
async function following(...addresses: Address[]) {
  const clock = new VirtualClock();
  const name = { read: () => Promise.resolve(addresses), reads: 0 };
  const links: Link[] = [];
  let onLink = () => {};
  const accept = (link: Link) => {
    links.push(link);
    onLink();
    return { onMessage: () => {}, onClose: () => {} };
  };
  const never = { requested: false, stopped: new Promise<void>(() => {}) };
  const connections = new WorkerConnections(clock, accept, never, { token: null, tls: null });
  const read = () => {
    name.reads++;
    return name.read();
  };
  await connections.follow([{ name: "dns:pool.example:1", read }]);
  return {
    clock,
    name,
    /** The peers of the first `count` links, when there are so many. */
    linked: (count: number) =>
      new Promise<string[]>((resolve) => {
        onLink = () => links.length >= count && resolve(links.map(({ peer }) => peer));
        onLink();
      }),
    close: () => {
      connections.close();
      for (const link of links) link.close("the test is over");
    },
  };
}

Deno.test("a worker whose name gets another address is connected to there, within two seconds", async () => {
  const [first, second] = [listening(), listening()];
  const { clock, name, linked, close } = await following(first.address);
  await linked(1);
  name.read = () => Promise.resolve([second.address]);
  clock.advance(1.9 * SECOND);
  assert.equal(name.reads, 1);
  clock.advance(0.2 * SECOND);
  assert.match(await first.ended, /it is not on the controller's list of workers any more$/);
  assert.deepEqual(await linked(2), [first, second].map(({ address }) => formatAddress(address)));
  close();
  assert.match(await second.ended, /the test is over$/);
  clock.advance(10 * SECOND);
  assert.equal(name.reads, 2, "the name is not followed any more");
  for (const { listener } of [first, second]) listener.close();
});

Deno.test("workers stay while their name cannot be looked up", async () => {
  const worker = listening();
  const { clock, name, linked, close } = await following(worker.address);
  await linked(1);
  const failed = Promise.withResolvers<Address[]>();
  name.read = () => failed.promise;
  clock.advance(2 * SECOND);
  failed.reject(new Error("cannot look up pool.example"));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal((await linked(1)).length, 1, "it is not connected to again");
  close();
  assert.match(await worker.ended, /the test is over$/);
  worker.listener.close();
});

Deno.test("a name is not looked up again while that is under way, and then it is", async () => {
  const worker = listening();
  const { clock, name, linked, close } = await following();
  const slow = Promise.withResolvers<Address[]>();
  name.read = () => slow.promise;
  clock.advance(10 * SECOND);
  assert.equal(name.reads, 2);
  slow.reject(new Error("cannot look up pool.example"));
  await new Promise((resolve) => setTimeout(resolve, 0));
  name.read = () => Promise.resolve([worker.address]);
  clock.advance(2 * SECOND);
  assert.equal(name.reads, 3);
  assert.deepEqual(await linked(1), [formatAddress(worker.address)]);
  close();
  await worker.ended;
  worker.listener.close();
});
