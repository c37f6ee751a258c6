// The demonstration page: one native EventSource, a table, and some buttons.
//
// Windows of one browser share their cookies, so a window signs in as its own user before it opens
// its stream, and again whenever the stream turns out to be somebody else's.
"use strict";

const EVENTS_KEPT = 2000;
const ROWS_SHOWN = 200;
const CONTROL_EVENTS = ["connected", "reset", "heartbeat", "subscription", "auth", "refused", "bye"];
const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 10_000;

const element = (id) => document.getElementById(id);
const organizations = element("organization");
const users = element("user");

/** What a test, or somebody at the console, may look at. */
const tailrace = { events: [], state: "connecting", connected: null };
window.tailrace = tailrace;

let source = null;
let lastEventId = "";
let attempts = 0;
/** Counts the streams that were begun, so that an answer that comes late is known to be late. */
let turn = 0;
let retryTimer = 0;
let chosen = null;
let received = 0;
let heartbeatAt = 0;
/** What rows were called when they were last seen: a delete comes with the keys alone. */
const names = new Map();

// ---- the stream ---------------------------------------------------------------------------------

async function open() {
  close();
  const mine = turn;
  setState("connecting", "Connecting");
  try {
    await post("/dev/session", { user: users.value });
  } catch (error) {
    if (mine === turn) tryAgain(error.message);
    return;
  }
  if (mine !== turn) return;
  source = new EventSource(streamUrl());
  source.onmessage = (event) => mine === turn && onData(event);
  for (const name of CONTROL_EVENTS) {
    source.addEventListener(name, (event) => mine === turn && onControl(name, event));
  }
  source.onerror = () => mine === turn && onError(source.readyState);
}

function close() {
  turn += 1;
  clearTimeout(retryTimer);
  if (source) source.close();
  source = null;
}

function streamUrl() {
  const query = new URLSearchParams({ organizationId: organizations.value });
  if (lastEventId) query.set("lastEventId", lastEventId);
  return `/api/realtime/stream?${query}`;
}

function onData(message) {
  const event = JSON.parse(message.data);
  const delay = Math.max(0, Date.now() - event.timestamp);
  moveTo(message.lastEventId);
  received += 1;
  tailrace.events.push(event);
  if (tailrace.events.length > EVENTS_KEPT) tailrace.events.shift();
  element("count").textContent = received.toLocaleString();
  element("delay").textContent = inWords(delay);
  const words = summary(event);
  addRow(event.type, event.payload?.action, words, event, event.timestamp, inWords(delay));
  announce(`${event.type}: ${words}`);
}

function onControl(name, message) {
  const data = JSON.parse(message.data);
  if (message.lastEventId) moveTo(message.lastEventId);
  if (name === "connected") return onConnected(data);
  if (name === "heartbeat") {
    heartbeatAt = Date.now();
    return showHeartbeat();
  }
  const words = {
    reset: `Events may have been missed (${data.reason}): load the rows afresh`,
    refused: `Not now: ${data.message ?? data.reason ?? data.code ?? "try again later"}`,
    bye: `The node closes this stream: ${data.reason}`,
    auth: "The session ends in a minute",
  };
  addRow(name, "", words[name] ?? "", data, Date.now(), "");
}

function onConnected(data) {
  if (data.userId !== users.value) {
    // Another window signed in between our own sign-in and the stream; not both at once again.
    close();
    setState("connecting", "Signing in again");
    retryTimer = setTimeout(open, 50 + Math.random() * 450);
    return;
  }
  attempts = 0;
  problem("stream", "");
  tailrace.connected = data;
  const role = data.organization?.role ? `, ${data.organization.role}` : "";
  setState("live", "Live");
  const how = { live: "from now on", resumed: "resumed without a gap", reset: "from now on, after a gap" };
  addRow("connected", "", `${data.userId}${role} of ${data.organizationId}: ${how[data.resume] ?? data.resume}`, data, Date.now(), "");
}

function onError(readyState) {
  if (readyState === EventSource.CONNECTING) {
    setState("connecting", "Reconnecting");
    return;
  }
  // A native EventSource gives up on any status but 200, and does not say which it was.
  const mine = turn;
  attempts += 1;
  if (attempts === 1) {
    // Perhaps another window's cookie: signing in again settles it.
    tryAgain("");
    return;
  }
  askWhy().then((refusal) => {
    if (mine !== turn) return;
    if (refusal?.status === 403) {
      close();
      setState("refused", "Refused");
      problem("stream", inSentence(refusal));
    } else {
      tryAgain(refusal ? inSentence(refusal) : "");
    }
  });
}

function tryAgain(why) {
  close();
  setState("closed", "Not connected");
  if (why) problem("stream", why);
  const wait = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(attempts, 6));
  retryTimer = setTimeout(open, wait * (0.5 + Math.random() / 2));
}

/** Asks for the same stream as our own client does, which is told the true status. */
async function askWhy() {
  const abort = new AbortController();
  try {
    const headers = { "x-tailrace-client": "page" };
    const response = await fetch(streamUrl(), { headers, signal: abort.signal });
    if (response.ok) return null;
    const body = await response.json();
    return { status: response.status, message: body.error?.message ?? "" };
  } catch {
    return null;
  } finally {
    abort.abort();
  }
}

// ---- changing rows ------------------------------------------------------------------------------

async function change(button) {
  button.disabled = true;
  try {
    const { action } = button.dataset;
    await post("/dev/rows", { organization: organizations.value, user: users.value, action });
    problem("change", "");
  } catch (error) {
    problem("change", error.message);
  } finally {
    button.disabled = false;
  }
}

async function post(path, body) {
  let response;
  try {
    const headers = { "content-type": "application/json" };
    response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    throw new Error("The node does not answer.");
  }
  if (response.ok) return;
  const said = await response.json().catch(() => null);
  throw new Error(said?.error?.message ?? `The node answered ${response.status}.`);
}

// ---- what is seen -------------------------------------------------------------------------------

function addRow(type, action, words, event, timestamp, delay) {
  const row = document.createElement("tr");
  row.className = "fresh";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "type";
  button.dataset.action = action ?? "";
  button.textContent = type;
  const cells = [["time", clock(timestamp)], ["", button], ["what", words], ["number", delay]];
  for (const [name, content] of cells) {
    const cell = document.createElement("td");
    cell.className = name;
    cell.append(content);
    row.append(cell);
  }
  const show = () => choose(row, event);
  row.addEventListener("click", show);
  const rows = element("rows");
  rows.prepend(row);
  while (rows.childElementCount > ROWS_SHOWN) rows.lastElementChild.remove();
  element("empty").hidden = true;
  // The newest event is shown until somebody chooses an older one.
  if (!chosen || chosen === row.nextElementSibling || !chosen.isConnected) show();
}

function choose(row, event) {
  if (chosen) chosen.removeAttribute("aria-current");
  chosen = row;
  row.setAttribute("aria-current", "true");
  element("json").replaceChildren(...coloured(JSON.stringify(event, null, 2)));
}

/** Names, texts and words of a JSON text in spans of their own; never parsed as HTML. */
function coloured(json) {
  const token = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*/g;
  const nodes = [];
  let end = 0;
  for (const match of json.matchAll(token)) {
    nodes.push(json.slice(end, match.index));
    const span = document.createElement("span");
    span.className = match[2] ? "j-key" : match[1] ? "j-text" : "j-word";
    span.textContent = match[1] ?? match[0];
    nodes.push(span, match[2] ?? "");
    end = match.index + match[0].length;
  }
  nodes.push(json.slice(end));
  return nodes;
}

function summary(event) {
  const payload = event.payload ?? {};
  if (payload.changes) {
    for (const change of payload.changes) summary({ payload: change });
    return `${payload.changes.length.toLocaleString()} changes`;
  }
  if (event.source === "application") return payload.data?.message ?? JSON.stringify(payload.data);
  const row = payload.record ?? payload.old ?? {};
  const name = row.name ?? row.title ?? row.action ?? names.get(row.id) ?? row.userId ?? row.id ?? "";
  if (payload.action === "delete") {
    names.delete(row.id);
    return name;
  }
  names.set(row.id, name);
  if (names.size > EVENTS_KEPT) names.delete(names.keys().next().value);
  const price = row.price == null ? "" : Number(row.price).toLocaleString();
  return [name, price, row.status].filter(Boolean).join(" · ");
}

function setState(state, words) {
  tailrace.state = state;
  element("state").dataset.state = state;
  element("state-text").textContent = words;
}

function moveTo(position) {
  lastEventId = position;
  element("position").textContent = position;
  element("position").title = position;
}

/** What keeps the stream from opening, and what came of the last press of a button. */
const problems = { stream: "", change: "" };
function problem(of, words) {
  problems[of] = words;
  const all = [problems.stream, problems.change].filter(Boolean).join(" ");
  element("problem").textContent = all;
  element("problem").hidden = !all;
}

/** For a screen reader: the newest event, at most one in two seconds. */
let announcedAt = 0;
function announce(words) {
  if (Date.now() - announcedAt < 2000) return;
  announcedAt = Date.now();
  element("announcement").textContent = words;
}

function showHeartbeat() {
  const seconds = Math.round((Date.now() - heartbeatAt) / 1000);
  element("heartbeat").textContent = !heartbeatAt ? "–" : seconds < 2 ? "just now" : `${seconds} s ago`;
}

const inSentence = ({ status, message }) => `The node answered ${status}: ${message}.`;

const inWords = (ms) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);

function clock(ms) {
  const time = new Date(ms);
  return `${time.toLocaleTimeString("en-GB")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

function clear() {
  element("rows").replaceChildren();
  element("empty").hidden = false;
  const nothing = document.createElement("span");
  nothing.className = "empty";
  nothing.textContent = "Choose an event.";
  element("json").replaceChildren(nothing);
  chosen = null;
  received = 0;
  tailrace.events.length = 0;
  element("count").textContent = "0";
  element("delay").textContent = "–";
}

/** Another organisation or user: another stream, from its own beginning. */
function switchOver() {
  clear();
  problem("stream", "");
  problem("change", "");
  lastEventId = "";
  attempts = 0;
  heartbeatAt = 0;
  showHeartbeat();
  element("position").textContent = "–";
  nameWindow();
  open();
}

function nameWindow() {
  const query = new URLSearchParams({ organization: organizations.value, user: users.value });
  history.replaceState(null, "", `/?${query}`);
  const name = (select) => select.selectedOptions[0].text;
  document.title = `${name(organizations)} · Tailrace`;
  const [organization, user, words] = organizations.value === "acme"
    ? ["globex", "bob", "open a second window as Bob, of Globex"]
    : ["acme", "alice", "open a second window as Alice, of Acme"];
  element("other").href = `/?${new URLSearchParams({ organization, user })}`;
  element("other").textContent = words;
}

// ---- the beginning ------------------------------------------------------------------------------

const asked = new URLSearchParams(location.search);
for (const [select, value] of [[organizations, asked.get("organization")], [users, asked.get("user")]]) {
  if ([...select.options].some((option) => option.value === value)) select.value = value;
  select.addEventListener("change", switchOver);
}
for (const button of document.querySelectorAll(".buttons button")) {
  button.addEventListener("click", () => change(button));
}
element("clear").addEventListener("click", clear);
setInterval(showHeartbeat, 1000);
nameWindow();
open();
