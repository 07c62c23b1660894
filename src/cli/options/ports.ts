/** Default ports of nodes. */

/** Workers, for controllers. */
export const WORKER_PORT = 12345;
/** Controllers, for clients and for workers that join. */
export const CLIENT_PORT = 12346;
/** Gateways, for HTTP. */
export const HTTP_PORT = 8000;
