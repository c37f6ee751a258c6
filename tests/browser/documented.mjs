// What applications of this kind have in their documentation to try their stream with, as it is written
// there: a snippet for the browser's console, and a command.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { waitFor } from "./chromium.mjs";

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

const CURL_COMMAND = `
# First, get your session cookie from browser DevTools
curl -N "http://localhost:3000/api/realtime/stream?organizationId=YOUR_ORG_ID" \\
  -H "Cookie: next-auth.session-token=YOUR_SESSION_TOKEN"
`;

/** What the console of a page says, and a way to type into it. */
export async function consoleOf(page) {
  const received = [];
  page.on("console", (message) => received.push(message));
  const said = (text) => received.find((message) => message.text().startsWith(text));
  // What DevTools itself does with a line that is typed into the console.
  const devtools = await page.context().newCDPSession(page);
  const type = async (expression) => {
    const typed = { expression, replMode: true };
    const { exceptionDetails } = await devtools.send("Runtime.evaluate", typed);
    assert.equal(exceptionDetails, undefined);
  };
  const until = (text) => waitFor(`the console says ${text}`, () => said(text));
  return { said, type, until, close: () => devtools.detach() };
}

/** Option 1: the snippet in the console of a page of the application, with the cookie that is there.
 * `insert` makes a row of this organisation and returns its id. */
export async function consoleSnippetWorks(page, organization, insert) {
  const { said, type, until, close } = await consoleOf(page);
  await type(CONSOLE_SNIPPET.replace("YOUR_ORG_ID", organization));
  await until("Connection opened");
  const id = insert("console");
  const message = await until("Event received:");
  const event = await message.args()[1].jsonValue();
  assert.equal(event.payload.record.id, id);
  assert.equal(said("Connection error:"), undefined);
  await type("eventSource.close();");
  await close();
  console.log("console: the snippet receives events");
}

/** Option 2: the command in a shell, with the user's cookie; `session` is [name, value]. */
export async function curlCommandWorks(origin, organization, user, [cookie, token], insert) {
  const command = CURL_COMMAND.replace("http://localhost:3000/", new URL("/", origin).href)
    .replace("YOUR_ORG_ID", organization)
    .replace("next-auth.session-token", cookie)
    .replace("YOUR_SESSION_TOKEN", token);
  const shell = spawn("sh", ["-c", `exec ${command.trim().replace(/^#.*\n/, "")}`]);
  let said = "";
  shell.stdout.on("data", (bytes) => (said += bytes));
  try {
    await waitFor("curl shows the connection", () => said.includes("event: connected\n"));
    const connected = JSON.parse(said.match(/event: connected\n(?:id: .*\n)?data: (.*)\n/)[1]);
    assert.equal(connected.organizationId, organization);
    assert.equal(connected.organization.id, organization);
    assert.equal(connected.userId, user);
    const id = insert("curl");
    await waitFor("curl shows the event", () => said.includes(`"id":"${id}"`));
    // Silence follows; the heartbeat comes within the 30 s that the documentation promises.
    await waitFor("curl shows a heartbeat", () => said.includes("event: heartbeat\n"));
  } finally {
    shell.kill();
  }
  console.log("curl: the command shows the connection, an event and a heartbeat");
}
