// The application without organisations: its users have numbers, and a row belongs to one of them. Its
// page listens by the events' names, and asks for the history when it comes back. Started by
// tests/applications.rs.

import assert from "node:assert/strict";
import { PATIENCE, emptyPage, psql, withBrowser } from "./chromium.mjs";
import { consoleOf } from "./documented.mjs";
import { Tailrace, overHttp } from "../packages/emitter.mjs";

const { NODE_URL, SESSION, SERVICE_KEY } = process.env;
const tailrace = new Tailrace(overHttp({ url: NODE_URL, key: SERVICE_KEY }));

/** As it is written in the application's documentation. */
const FETCH_HISTORY = `
// On reconnection, fetch event history
const eventSource = new EventSource('/api/realtime/events');
eventSource.addEventListener('connected', async (event) => {
  const { clientId } = JSON.parse(event.data);
  
  // Fetch missed events
  const history = await fetch(\`/api/realtime/history?since=\${lastEventTime}\`);
  const events = await history.json();
  
  // Replay events
  events.forEach(event => processEvent(event));
});
`;

/** And what its server does. */
const PUBLISH = `
realtimeManager.publish('global', 'maintenance:scheduled', {
  message: 'Scheduled maintenance in 10 minutes',
  time: '2026-01-09T22:00:00Z'
});
realtimeManager.publishToUser(userId, 'notification', {
  type: 'info',
  message: 'Your report is ready'
});
publishModuleEvent('documents', 'uploaded', document, ctx.user.id);
`;

await withBrowser(async (browser) => {
  const page = await emptyPage(browser, NODE_URL, { session: SESSION });
  const began = Date.now();
  const missed = insert(7, "missed");
  const foreign = insert(8, "of another user");
  // What the page has beside the snippet: when it saw the last event, and what it does with one.
  await page.evaluate((began) => {
    window.lastEventTime = began;
    window.processed = [];
    window.processEvent = (event) => window.processed.push(event);
    window.heard = [];
  }, began);
  const { type } = await consoleOf(page);
  await type(FETCH_HISTORY);
  await page.waitForFunction(() => window.processed.length >= 1);
  const [event, ...others] = await page.evaluate(() => window.processed);
  assert.deepEqual(others, []);
  assert.equal(event.type, "horses:created");
  assert.equal(event.payload.record.id, missed);

  // Listeners by name: the data is the row itself, or what was published.
  await page.evaluate(() => {
    const names = [
      "horses:created",
      "horses:updated",
      "horses:deleted",
      "maintenance:scheduled",
      "notification",
      "documents:uploaded",
    ];
    for (const name of names) {
      eventSource.addEventListener(name, (event) => window.heard.push([name, JSON.parse(event.data)]));
    }
  });
  const own = insert(7, "Thunder");
  insert(8, "of another user too");
  psql(`UPDATE horses SET name = 'Lightning' WHERE id = ${own}; DELETE FROM horses WHERE id = ${own}`);
  await publishFor(8);
  await tailrace.emit("acme", { type: "notification", data: "for an organisation" });
  await publishFor(7);
  const expected = [
    "horses:created",
    "horses:updated",
    "horses:deleted",
    // Everybody's, of the first call; then all that the second one says.
    "maintenance:scheduled",
    "maintenance:scheduled",
    "notification",
    "documents:uploaded",
  ];
  await page.waitForFunction((count) => window.heard.length >= count, expected.length, { timeout: PATIENCE });
  const heard = await page.evaluate(() => window.heard);
  assert.deepEqual(heard.map(([name]) => name), expected);
  const [created, updated, deleted, maintenance, , notification, uploaded] = heard.map(([, data]) => data);
  assert.equal(created.id, own);
  assert.equal(created.name, "Thunder");
  assert.equal(updated.name, "Lightning");
  assert.equal(deleted.id, own);
  assert.equal(maintenance.message, "Scheduled maintenance in 10 minutes");
  assert.equal(notification.message, "Your report is ready");
  assert.deepEqual(uploaded, { id: 7 });

  // The history by an ISO time, which a page may have instead.
  const since = new Date(began).toISOString();
  const history = await page.evaluate(
    (since) => fetch(`/api/realtime/history?since=${since}`).then((response) => response.json()),
    since,
  );
  const channels = new Set(history.map(({ channel }) => channel));
  assert.equal(history.length, 1 + expected.length);
  assert.deepEqual([...channels].sort(), ["global", "user:7"]);
  assert.equal(history.some(({ payload }) => payload.record?.id === foreign), false);
  console.log("horses: the history and the listeners by name have the user's own events and the global ones");
});

/** A horse of this user's; its id. */
function insert(user, name) {
  const rows = psql(`INSERT INTO horses ("userId", name) VALUES (${user}, '${name}') RETURNING id`);
  return Number(rows.trim());
}

/** Runs what the server does, for a user, one after the other. */
async function publishFor(user) {
  const said = [];
  const then = (call) => (...values) => said.push(() => call(...values));
  const realtimeManager = {
    publish: then((...values) => tailrace.publish(...values)),
    publishToUser: then((...values) => tailrace.publishToUser(...values)),
  };
  const publishModuleEvent = then((...values) => tailrace.publishModuleEvent(...values));
  const names = ["realtimeManager", "publishModuleEvent", "userId", "document", "ctx"];
  new Function(...names, PUBLISH)(realtimeManager, publishModuleEvent, user, { id: user }, { user: { id: user } });
  for (const call of said) assert.equal(await call(), true);
}
