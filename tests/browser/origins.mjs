// Pages of other origins that ask for a user's stream with the user's cookie, started by
// tests/tenancy.rs with the addresses and the session in the environment.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { emptyPage, waitFor, withBrowser } from "./chromium.mjs";

const { NODE_URL, ALLOWED_PORT, SESSION } = process.env;
const STREAM = new URL("/api/realtime/stream?organizationId=acme", NODE_URL).href;

/** Opens a stream, in whatever page this runs, and says how it went. */
const ASK = `
  async (url) => {
    const opened = await new Promise((resolve) => {
      const source = new EventSource(url, { withCredentials: true });
      source.addEventListener("connected", (event) => resolve(JSON.parse(event.data).userId));
      source.onerror = () => resolve(source.readyState === EventSource.CLOSED ? "closed" : "retrying");
    });
    const read = await fetch(url, { credentials: "include" }).then((response) => {
      const status = response.status;
      response.body?.cancel();
      return status;
    }, () => "unreadable");
    const sent = await fetch(url, { credentials: "include", mode: "no-cors" }).then(
      (response) => response.text(),
      () => "unreadable",
    );
    return { opened, read, sent };
  }
`;

await withBrowser(async (browser) => {
  const allowed = await pages(Number(ALLOWED_PORT));
  const foreign = await pages(0);
  // Cookies tell ports apart as little as browsers do: all of these pages send the user's. Where a
  // stream opens, a request without CORS would read it to no end, so it is left out there.
  const own = await emptyPage(browser, NODE_URL, { session: SESSION });
  assert.equal(await opens(own), "alice");
  const admitted = await emptyPage(browser, allowed.origin, { session: SESSION });
  assert.equal(await opens(admitted), "alice");

  // EventSource gives up for good, which is what a page does that is refused; a script reads nothing.
  const page = await emptyPage(browser, foreign.origin, { session: SESSION });
  const asked = { ours: new Set(), answers: [] };
  await follow(page.context(), page, asked);
  const answer = await page.evaluate(`(${ASK})(${JSON.stringify(STREAM)})`);
  assert.deepEqual(answer, { opened: "closed", read: "unreadable", sent: "" });

  // A sandboxed frame has an origin of its own, which browsers write as "null".
  const frame = await page.evaluateHandle(() => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = "<p>sandboxed</p>";
    document.body.append(frame);
    return new Promise((resolve) => (frame.onload = () => resolve(frame)));
  });
  const sandbox = await frame.asElement().contentFrame();
  assert.equal(await sandbox.evaluate("origin"), "null");
  await follow(page.context(), sandbox, asked);
  const nobody = await sandbox.evaluate(`(${ASK})(${JSON.stringify(STREAM)})`);
  assert.deepEqual(nobody, { opened: "closed", read: "unreadable", sent: "" });
  // For its origin and not for a missing session, which would be 401; each page asked three times.
  // The browser tells of an answer in its own time, also after the page has it.
  const ours = () => asked.answers.filter(({ requestId }) => asked.ours.has(requestId));
  await waitFor("an answer to each request", () => ours().length >= 6);
  assert.deepEqual(ours().map(({ statusCode }) => statusCode), Array(6).fill(403));
  allowed.server.close();
  foreign.server.close();
  console.log("origins: the own and an allowed one stream, a foreign one and `null` do not");
});

/** Notes what the node answers a page or a frame with, also where no script may see it. A page asks its
 * own host for more, such as its icon. */
async function follow(context, page, { ours, answers }) {
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  devtools.on("Network.requestWillBeSent", ({ requestId, request }) => {
    if (request.url.startsWith(NODE_URL)) ours.add(requestId);
  });
  devtools.on("Network.responseReceivedExtraInfo", (answer) => answers.push(answer));
}

/** What a native EventSource of this page gets. */
function opens(page) {
  return page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const source = new EventSource(url, { withCredentials: true });
        source.addEventListener("connected", (event) => {
          resolve(JSON.parse(event.data).userId);
          source.close();
        });
        source.onerror = () => resolve("refused");
      }),
    STREAM,
  );
}

/** A host of empty pages. */
async function pages(port) {
  const server = createServer((request, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>A page</title><p>A page");
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}
