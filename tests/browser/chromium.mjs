// What the scripts of this folder share: Debian's Chromium, psql, and patience.
//
// playwright-core is pinned to the last version that runs on the Node 18 of Debian 12.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const { DATABASE_URL } = process.env;
const CHROMIUM = ["chromium", "chromium-browser", "google-chrome"]
  .map((name) => `/usr/bin/${name}`)
  .find((path) => existsSync(path));
/** How long anything that must happen may take, in milliseconds. */
export const PATIENCE = 30_000;

/** Runs a function with a browser, which ends with it. */
export async function withBrowser(use) {
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
    await use(browser);
  } finally {
    await browser.close();
  }
}

/** An empty page of an origin, with these cookies of its host. */
export async function emptyPage(browser, origin, cookies) {
  const context = await browser.newContext();
  const { hostname } = new URL(origin);
  const stored = Object.entries(cookies).map(([name, value]) => ({ name, value, domain: hostname, path: "/" }));
  await context.addCookies(stored);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.goto(new URL("/livez", origin).href);
  return page;
}

/** Runs statements, each a transaction, and returns what they answer, without heads. */
export function psql(statements) {
  const options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1"];
  const run = spawnSync("psql", [...options, DATABASE_URL], { input: `${statements};`, encoding: "utf8" });
  assert.equal(run.status, 0, run.stderr);
  return run.stdout;
}

export async function waitFor(what, find) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = find();
    if (found) return found;
    assert.ok(Date.now() < deadline, `not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
