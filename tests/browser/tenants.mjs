// The application in which everybody belongs to one tenant, named by a column of the user's: its page names
// no tenant, reads `event.data`, and its mutations emit. Started by tests/applications.rs.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { emptyPage, withBrowser } from "./chromium.mjs";
import { consoleOf } from "./documented.mjs";

const { NODE_URL, COOKIE, SESSION, EMIT, TENANT, OTHER_TENANT } = process.env;

/** What the application's client does with a message, and what a component of its documentation does with
 * the client. */
const LISTENER = `
const callbacks = new Map();
const subscribe = (type, callback) => callbacks.set(type, callback);
const source = new EventSource('/api/activity/stream');
source.addEventListener('connected', (event) => console.log('Tenant:', JSON.parse(event.data).organizationId));
source.onmessage = (event) => {
  const data = JSON.parse(event.data);
  callbacks.get(data.type)(data);
};

// Subscribe to events
const unsubscribe = subscribe('activity:new', (event) => {
    console.log('New activity:', event.data);
  });
subscribe('notification:new', (event) => {
    console.log('New notification:', event.data);
  });
`;

await withBrowser(async (browser) => {
  const page = await emptyPage(browser, NODE_URL, { [COOKIE]: SESSION });
  const { type, until } = await consoleOf(page);
  await type(LISTENER);
  const greeting = await until("Tenant:");
  assert.equal(await greeting.args()[1].jsonValue(), TENANT);
  emit(OTHER_TENANT, "Globex");
  emit(TENANT, "Mill");
  const activity = await (await until("New activity:")).args()[1].jsonValue();
  assert.equal(activity.description, 'Client "Mill" was created');
  assert.equal(activity.userName, "Alice Miller");
  assert.match(activity.entityId, /^[0-9a-f-]{36}$/);
  const notification = await (await until("New notification:")).args()[1].jsonValue();
  assert.equal(notification.title, "Compliance Deadline");
  console.log("tenants: what a mutation emits is what the page's listener reads");
});

/** Runs the application's mutation for a tenant. */
function emit(tenant, name) {
  const run = spawnSync(process.execPath, [EMIT], {
    env: { ...process.env, TENANT: tenant, NAME: name },
    encoding: "utf8",
  });
  assert.equal(run.status, 0, run.stderr);
}
