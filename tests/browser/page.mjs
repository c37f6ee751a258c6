// Drives the page of `tailrace dev` in two windows of Debian's Chromium, started by tests/browser.rs
// with the addresses in the environment. Nothing of the product is imported here.

import assert from "node:assert/strict";
import { PATIENCE, emptyPage, psql, withBrowser } from "./chromium.mjs";
import { consoleSnippetWorks, curlCommandWorks } from "./documented.mjs";

const { PAGE_URL, ALICE_TOKEN, SESSION_COOKIE, SCREENSHOT } = process.env;
const INSERTS = 200;
const INSERTS_APART_S = 0.02;

await withBrowser(async (browser) => {
  const acme = await openWindow(browser, "acme", "alice");
  const globex = await openWindow(browser, "globex", "bob");
  await rowsOfOneAreNeverSeenByTheOther(acme, globex);
  await buttonsChangeRows(acme, globex);
  const carol = await openWindow(browser, "acme", "carol");
  await everythingElseReachesItsOwn(acme, globex, carol);
  await carol.context().close();
  await consoleSnippetWorks(acme, "acme", insertProperty);
  await curlCommandWorks(PAGE_URL, "acme", "alice", [SESSION_COOKIE, ALICE_TOKEN], insertProperty);
  await takeScreenshot(acme);
  await acme.context().close();
  await globex.context().close();
  await commitToMessage(browser);
});

function insertProperty(id) {
  psql(`INSERT INTO "Property" (id, "organizationId", name) VALUES ('${id}', 'acme', 'C')`);
  return id;
}

/** A window of its own, with cookies of its own, that streams. */
async function openWindow(browser, organization, user) {
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
  assert.equal(event.type, "property.update");
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
    assert.equal(events.at(-1).type, "property.update");
    assert.equal(events.at(-1).payload.action, action);
    await acme.locator(`#rows [data-action=${action}]`).first().waitFor();
  }
  assert.equal((await eventsOf(globex, others)).length, others);
  console.log("page: the buttons' changes come back over the stream");
}

/** What the seeds' applications stream beside properties, each to those whom it concerns. */
async function everythingElseReachesItsOwn(acme, globex, carol) {
  const own = [
    ["activity", "user.activity", "user"],
    ["notification", "notification.new", "notifications"],
    ["rename", "organization.change", "organization"],
    ["sync", "data.sync", "system"],
    ["alert", "system.alert", "system"],
  ];
  const known = await Promise.all([acme, globex, carol].map((page) => eventsOf(page, 0)));
  const before = known.map((events) => events.length);
  for (const [index, [action, type, channel]] of own.entries()) {
    await acme.locator(`.buttons [data-action=${action}]`).click();
    const event = (await eventsOf(acme, before[0] + index + 1)).at(-1);
    assert.deepEqual([event.type, event.channel], [type, channel]);
    await acme.locator("#rows tr", { hasText: type }).first().waitFor();
  }
  const types = (events, from) => events.slice(from).map((event) => event.type);
  // Another member sees all but what was for Alice alone; another organisation what is for everybody.
  const hers = types(await eventsOf(carol, before[2] + own.length - 1), before[2]);
  const all = own.map(([, type]) => type).filter((type) => type !== "notification.new");
  assert.deepEqual(hers, all);
  const theirs = types(await eventsOf(globex, before[1] + 1), before[1]);
  assert.deepEqual(theirs, ["system.alert"]);
  for (const [index, type] of ["member.leave", "member.join"].entries()) {
    await acme.locator(".buttons [data-action=member]").click();
    const event = (await eventsOf(acme, before[0] + own.length + index + 1)).at(-1);
    assert.deepEqual([event.type, event.channel], [type, "organization"]);
    const columns = Object.keys(event.payload.record ?? event.payload.old).sort();
    assert.ok(columns.every((name) => ["organizationId", "role", "userId"].includes(name)), `${columns}`);
  }
  console.log("page: activities, notifications, members, names and messages reach their own");
}

/** The time from each commit to `onmessage`, by the same machine's clock, in a window of the
 * application's origin that has nothing to paint: what painting costs is the page's affair. */
async function commitToMessage(browser) {
  const page = await emptyPage(browser, PAGE_URL, { [SESSION_COOKIE]: ALICE_TOKEN });
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
  for (const action of ["insert", "update", "activity", "delete", "notification", "sync", "update"]) {
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
