// Drives the page of `tailrace dev` in two windows of Debian's Chromium, started by tests/browser.rs
// with the addresses in the environment. Nothing of the product is imported here.
//
// playwright-core is pinned to the last version that runs on the Node 18 of Debian 12.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const { PAGE_URL, DATABASE_URL, ALICE_TOKEN, SESSION_COOKIE, SCREENSHOT } = process.env;
const CHROMIUM = ["chromium", "chromium-browser", "google-chrome"]
  .map((name) => `/usr/bin/${name}`)
  .find((path) => existsSync(path));
/** How long anything that must happen may take, in milliseconds. */
const PATIENCE = 30_000;
const INSERTS = 200;
const INSERTS_APART_S = 0.02;

/** The browser-console snippet that applications of this kind have in their documentation, as it is
 * written there. */
const CONSOLE_SNIPPET = `
// Open your application in browser (must be logged in)
const eventSource = new EventSource('/api/realtime/stream?organizationId=YOUR_ORG_ID');

eventSource.onopen = () => {
  console.log('Connection opened');
};

eventSource.onmessage = (event) => {
  const data = JSON.parse(event.data);
  console.log('Event received:', data);
};

eventSource.onerror = (error) => {
  console.error('Connection error:', error);
};

// Close when done
// eventSource.close();
`;

/** And the command, as it is written there. */
const CURL_COMMAND = `
# First, get your session cookie from browser DevTools
curl -N "http://localhost:3000/api/realtime/stream?organizationId=YOUR_ORG_ID" \\
  -H "Cookie: next-auth.session-token=YOUR_SESSION_TOKEN"
`;

assert.ok(CHROMIUM, "no Chromium in /usr/bin: apt-get install chromium");
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const acme = await openWindow("acme", "alice");
  const globex = await openWindow("globex", "bob");
  await rowsOfOneAreNeverSeenByTheOther(acme, globex);
  await buttonsChangeRows(acme, globex);
  await consoleSnippetWorks(acme);
  await curlCommandWorks();
  await takeScreenshot(acme);
  await acme.context().close();
  await globex.context().close();
  await commitToMessage();
} finally {
  await browser.close();
}

/** A window of its own, with cookies of its own, that streams. */
async function openWindow(organization, user) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => assert.fail(`the page of ${user} fails: ${error}`));
  await page.goto(new URL(`/?organization=${organization}&user=${user}`, PAGE_URL).href);
  await page.waitForFunction(() => window.tailrace.state === "live");
  return page;
}

async function rowsOfOneAreNeverSeenByTheOther(acme, globex) {
  const started = Date.now();
  psql(`INSERT INTO "Property" (id, "organizationId", name, price, notes)
        VALUES ('by-psql', 'acme', 'marker-of-acme', 100.50, NULL)`);
  psql(`UPDATE "Property" SET notes = 'marker-of-acme' WHERE id = 'by-psql'`);
  psql(`DELETE FROM "Property" WHERE id = 'by-psql'`);
  // What the other window sees first is its own row, committed after all of these.
  psql(`INSERT INTO "Property" (id, "organizationId", name) VALUES ('own', 'globex', 'Own')`);

  const [inserted, updated, deleted] = await eventsOf(acme, 3);
  isEvent(inserted, "insert", started);
  assert.equal(inserted.payload.record.name, "marker-of-acme");
  assert.equal(inserted.payload.record.price, "100.50");
  assert.equal(inserted.payload.record.notes, null);
  isEvent(updated, "update", started);
  assert.equal(updated.payload.record.notes, "marker-of-acme");
  isEvent(deleted, "delete", started);
  assert.equal(deleted.payload.record, null);
  assert.deepEqual(deleted.payload.old, { organizationId: "acme", id: "by-psql" });

  const [own] = await eventsOf(globex, 1);
  assert.equal(own.payload.record.id, "own");
  assert.equal((await globex.content()).includes("marker-of-acme"), false);
  assert.equal((await acme.content()).includes("marker-of-acme"), true);
  console.log("psql: INSERT, UPDATE and DELETE are seen in their own window alone");
}

/** The JSON of an event, member by member. */
function isEvent(event, action, started) {
  const members = ["id", "type", "channel", "timestamp", "source", "version", "payload"];
  assert.deepEqual(Object.keys(event), members);
  assert.match(event.id, /^[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+$/);
  assert.equal(event.type, `property.${action}`);
  assert.equal(event.channel, "property");
  assert.ok(event.timestamp >= started && event.timestamp <= Date.now(), `${event.timestamp}`);
  assert.equal(event.source, "postgres");
  assert.equal(event.version, "1");
  assert.equal(event.payload.organizationId, "acme");
  assert.equal(event.payload.table, "Property");
  assert.equal(event.payload.action, action);
}

async function buttonsChangeRows(acme, globex) {
  const before = (await eventsOf(acme, 3)).length;
  const others = (await eventsOf(globex, 1)).length;
  const actions = ["insert", "update", "delete"];
  for (const [index, action] of actions.entries()) {
    await acme.locator(`.buttons [data-action=${action}]`).click();
    const events = await eventsOf(acme, before + index + 1);
    assert.equal(events.at(-1).type, `property.${action}`);
    await acme.locator("#rows tr", { hasText: `property.${action}` }).first().waitFor();
  }
  assert.equal((await eventsOf(globex, others)).length, others);
  console.log("page: the buttons' changes come back over the stream");
}

/** Option 1 of the documentation: the snippet in the console, with the cookie that is there. */
async function consoleSnippetWorks(acme) {
  const received = [];
  acme.on("console", (message) => received.push(message));
  const said = (text) => received.find((message) => message.text().startsWith(text));
  const until = (text) => waitFor(`the console says ${text}`, () => said(text));
  // What DevTools itself does with a line that is typed into the console.
  const devtools = await acme.context().newCDPSession(acme);
  const type = async (expression) => {
    const { exceptionDetails } = await devtools.send("Runtime.evaluate", { expression, replMode: true });
    assert.equal(exceptionDetails, undefined);
  };
  await type(CONSOLE_SNIPPET.replace("YOUR_ORG_ID", "acme"));
  await until("Connection opened");
  psql(`INSERT INTO "Property" (id, "organizationId", name) VALUES ('console', 'acme', 'C')`);
  const message = await until("Event received:");
  const event = await message.args()[1].jsonValue();
  assert.equal(event.payload.record.id, "console");
  assert.equal(said("Connection error:"), undefined);
  await type("eventSource.close();");
  await devtools.detach();
  console.log("console: the snippet receives events");
}

/** Option 2 of the documentation: the command in a shell, with the user's cookie. */
async function curlCommandWorks() {
  const command = CURL_COMMAND.replace("http://localhost:3000/", new URL("/", PAGE_URL).href)
    .replace("YOUR_ORG_ID", "acme")
    .replace("next-auth.session-token", SESSION_COOKIE)
    .replace("YOUR_SESSION_TOKEN", ALICE_TOKEN);
  const shell = spawn("sh", ["-c", `exec ${command.trim().replace(/^#.*\n/, "")}`]);
  let said = "";
  shell.stdout.on("data", (bytes) => (said += bytes));
  try {
    await waitFor("curl shows the connection", () => said.includes("event: connected\n"));
    const connected = JSON.parse(said.match(/event: connected\n(?:id: .*\n)?data: (.*)\n/)[1]);
    assert.equal(connected.organizationId, "acme");
    assert.equal(connected.organization.id, "acme");
    assert.equal(connected.userId, "alice");
    psql(`INSERT INTO "Property" (id, "organizationId", name) VALUES ('curl', 'acme', 'C')`);
    await waitFor("curl shows the event", () => said.includes('"id":"curl"'));
    // Silence follows; the heartbeat comes within the 30 s that the documentation promises.
    await waitFor("curl shows a heartbeat", () => said.includes("event: heartbeat\n"));
  } finally {
    shell.kill();
  }
  console.log("curl: the command shows the connection, an event and a heartbeat");
}

/** The time from each commit to `onmessage`, by the same machine's clock, in a window of the
 * application's origin that has nothing to paint: what painting costs is the page's affair. */
async function commitToMessage() {
  const context = await browser.newContext();
  const { hostname } = new URL(PAGE_URL);
  const session = { name: SESSION_COOKIE, value: ALICE_TOKEN, domain: hostname, path: "/" };
  await context.addCookies([session]);
  const page = await context.newPage();
  await page.goto(new URL("/livez", PAGE_URL).href);
  await page.evaluate(() => {
    window.measured = [];
    const source = new EventSource("/api/realtime/stream?organizationId=acme&channel=client");
    source.onmessage = (message) => {
      const now = performance.timeOrigin + performance.now();
      window.measured.push(now - JSON.parse(message.data).timestamp);
    };
    return new Promise((resolve) => source.addEventListener("connected", resolve, { once: true }));
  });
  const insert = `INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'C');`;
  psql(`${insert} SELECT pg_sleep(${INSERTS_APART_S});\n`.repeat(INSERTS));
  const enough = (count) => window.measured.length >= count;
  await page.waitForFunction(enough, INSERTS, { timeout: PATIENCE });
  const measured = (await page.evaluate(() => window.measured)).sort((a, b) => a - b);
  assert.equal(measured.length, INSERTS);
  const [median, worst] = [measured[INSERTS / 2], measured[INSERTS - 1]];
  // The commit's time in the event is cut to whole milliseconds: up to one of each figure is that.
  console.log(
    `commit to onmessage over ${INSERTS} inserts: ` +
      `median ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms`,
  );
}

/** A picture of the window in use. */
async function takeScreenshot(acme) {
  await acme.locator("#clear").click();
  for (const action of ["insert", "update", "insert", "update", "delete", "insert", "update"]) {
    await acme.locator(`.buttons [data-action=${action}]`).click();
    await acme.waitForTimeout(150);
  }
  await acme.locator("#rows tr").nth(6).waitFor();
  await acme.screenshot({ path: SCREENSHOT });
}

/** The events that a window has shown, once there are so many. */
async function eventsOf(page, count) {
  await page.waitForFunction((count) => window.tailrace.events.length >= count, count);
  return page.evaluate(() => window.tailrace.events);
}

function psql(statements) {
  const run = spawnSync("psql", ["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", DATABASE_URL], {
    input: `${statements};`,
    encoding: "utf8",
  });
  assert.equal(run.status, 0, run.stderr);
}

async function waitFor(what, find) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = find();
    if (found) return found;
    assert.ok(Date.now() < deadline, `not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
