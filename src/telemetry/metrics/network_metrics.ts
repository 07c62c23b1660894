/** Metrics of a node's connections to other nodes. */
import { counter, gauge, type Metric, only, type Sample } from "./metric.ts";

/** Connections to peers of one role. */
export interface PeerTraffic {
  readonly role: string;
  readonly connections: number;
  /** Of those that have ended, too. */
  readonly sentBytes: number;
  readonly sentMessages: number;
  readonly receivedBytes: number;
  readonly receivedMessages: number;
}

/** @param refused connections that were refused before their peers were served. */
export function networkMetrics(
  peers: () => readonly PeerTraffic[],
  refused: () => number,
): Metric[] {
  const both = (
    sent: "sentBytes" | "sentMessages",
    received: "receivedBytes" | "receivedMessages",
  ) =>
    peers().flatMap((peer): Sample[] => [
      [[peer.role, "sent"], peer[sent]],
      [[peer.role, "received"], peer[received]],
    ]);
  return [
    gauge(
      "clockwork_connections",
      "Connections with other nodes, by their role",
      ["peer"],
      () => peers().map(({ role, connections }): Sample => [[role], connections]),
    ),
    counter(
      "clockwork_network_bytes_total",
      "Bytes sent to other nodes and received from them",
      ["peer", "direction"],
      () => both("sentBytes", "receivedBytes"),
    ),
    counter(
      "clockwork_network_messages_total",
      "Messages sent to other nodes and received from them",
      ["peer", "direction"],
      () => both("sentMessages", "receivedMessages"),
    ),
    counter(
      "clockwork_refused_peers_total",
      "Refused connections: missing or wrong token, not a Clockwork node, or too many",
      [],
      () => only(refused()),
    ),
  ];
}
