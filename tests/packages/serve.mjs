// An application's HTTP server around a handler of the Fetch API, which is what the libraries have. The
// port comes in the environment; a line on standard output says when it listens.

import { createServer } from "node:http";
import { Readable } from "node:stream";
import { webcrypto } from "node:crypto";

// Node 18, which Debian 12 has, does not show it by itself.
globalThis.crypto ??= webcrypto;

export const PORT = Number(process.env.PORT);
/** The address under which browsers know the application. */
export const ORIGIN = `http://127.0.0.1:${PORT}`;

/** Serves until the process is ended. */
export function serve(handle) {
  const server = createServer(async (incoming, outgoing) => {
    let response;
    try {
      response = await handle(requestOf(incoming));
    } catch (error) {
      console.error(error);
      response = Response.json({ error: String(error) }, { status: 500 });
    }
    outgoing.statusCode = response.status;
    for (const [name, value] of response.headers) {
      if (name !== "set-cookie") outgoing.setHeader(name, value);
    }
    outgoing.setHeader("set-cookie", response.headers.getSetCookie());
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  });
  server.listen(PORT, "127.0.0.1", () => console.log(`listening on ${ORIGIN}`));
}

function requestOf(incoming) {
  const { method, headers } = incoming;
  const hasBody = method !== "GET" && method !== "HEAD";
  return new Request(new URL(incoming.url, ORIGIN), {
    method,
    headers: Object.entries(headers).map(([name, value]) => [name, String(value)]),
    ...(hasBody ? { body: Readable.toWeb(incoming), duplex: "half" } : {}),
  });
}
