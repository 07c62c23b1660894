/** Measures a message's round trip between two nodes on this machine. */
import type { Clock } from "../core/clock.ts";
import { connect, listen } from "../wire/tcp.ts";

const REQUEST = { user_id: 0, model_id: 0, batch_size: 1, deadline_ns: 0, slo_factor: 0 };
/** Round trips that are not counted: code is compiled and buffers grow in them. */
const WARM_UP = 200;

/**
 * Times round trips of requests without inputs, in nanoseconds. Both ends are in this process: what
 * nodes in processes of their own need to wake each other comes on top.
 */
export async function loopbackRoundTripsNs(clock: Clock, count: number): Promise<number[]> {
  const listener = listen(
    { hostname: "127.0.0.1", port: 0 },
    clock,
    { role: "controller", peerRoles: ["client"] },
    (link) => ({
      onMessage: ({ id }) => link.send("InferResponse", id, { output_size: 0 }),
      onClose: () => {},
    }),
  );
  const times: number[] = [];
  const done = Promise.withResolvers<number[]>();
  try {
    await connect(
      listener.address,
      clock,
      { role: "client", peerRoles: ["controller"] },
      (link) => {
        let sentNs = 0;
        let pings = 0;
        const ping = () => {
          sentNs = clock.now();
          link.send("InferRequest", pings, REQUEST);
        };
        queueMicrotask(ping);
        return {
          onMessage: () => {
            if (pings++ >= WARM_UP) times.push(clock.now() - sentNs);
            if (times.length < count) return ping();
            link.close("enough");
            done.resolve(times);
          },
          onClose: (reason) => done.reject(new Error(`the loopback connection ended: ${reason}`)),
        };
      },
    );
    return await done.promise;
  } finally {
    listener.close();
  }
}
