// A person at the application of tests/nextjs, in Debian's Chromium: signs in with NextAuth, opens the page,
// and leaves it alone for a while. Started by tests/nextjs.rs with the addresses in the environment.

import assert from "node:assert/strict";
import { PATIENCE, psql, withBrowser } from "./chromium.mjs";

const { APPLICATION_URL, IDLE_SECONDS } = process.env;

await withBrowser(async (browser) => {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => assert.fail(`the page fails: ${error}`));
  await page.goto(new URL("/api/auth/signin", APPLICATION_URL).href);
  await page.getByLabel("Name").fill("alice");
  await page.getByRole("button").click();
  await page.waitForURL((url) => url.pathname === "/");
  const cookies = (await page.context().cookies()).map(({ name }) => name);
  assert.ok(cookies.includes("next-auth.session-token"), `signed in: ${cookies}`);

  const lines = () => page.locator("li").allTextContents();
  const until = async (line) => {
    await page.locator("li", { hasText: line }).waitFor();
    return lines();
  };
  await page.goto(new URL("/?organizationId=acme", APPLICATION_URL).href);
  // The page that the sign-in led to had a stream too, of no organisation: it was refused.
  assert.deepEqual(await until("connected alice"), ["connected alice"]);
  insert("first");
  assert.deepEqual(await until("event first"), ["connected alice", "event first"]);
  await page.waitForTimeout(Number(IDLE_SECONDS) * 1000);
  assert.deepEqual(await lines(), ["connected alice", "event first"]);
  insert("second");
  const seen = await until("event second");
  assert.deepEqual(seen, ["connected alice", "event first", "event second"]);
  // What a page sends goes the same way as what it reads.
  const renewed = await page.evaluate(() =>
    fetch("/api/realtime/renew", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ connectionId: window.connectionId }),
    }).then((response) => response.status),
  );
  assert.equal(renewed, 200);
  console.log(`nextjs: one stream lived ${IDLE_SECONDS} s of silence behind next start`);
});

function insert(id) {
  psql(`INSERT INTO "Property" (id, "organizationId", name) VALUES ('${id}', 'acme', 'P')`);
}
