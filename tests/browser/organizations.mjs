// The first application that the node was made for: its users belong to organisations by a table, and sign
// in with NextAuth. Its documentation has two ways to try the stream. Started by tests/applications.rs.

import { emptyPage, psql, withBrowser } from "./chromium.mjs";
import { consoleSnippetWorks, curlCommandWorks } from "./documented.mjs";

const { NODE_URL, NODE_NAME, SESSION } = process.env;
const COOKIE = "next-auth.session-token";

await withBrowser(async (browser) => {
  const page = await emptyPage(browser, NODE_URL, { [COOKIE]: SESSION });
  await consoleSnippetWorks(page, "acme", insert);
  await curlCommandWorks(NODE_URL, "acme", "alice", [COOKIE, SESSION], insert);
});

function insert(name) {
  const id = `${name}-${NODE_NAME}`;
  psql(`INSERT INTO "Property" (id, "organizationId", name) VALUES ('${id}', 'acme', 'P')`);
  return id;
}
