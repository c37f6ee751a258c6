// An application with Auth.js 5 (@auth/core), below /api/auth. SESSIONS says where they are: `jwt` (in
// the cookie; whoever gives a name is signed in), `pg` (the tables of @auth/pg-adapter) or `prisma`
// (tables as Prisma's schema has them), where a link sent by mail signs in. The mail is read at /mail.

import { ORIGIN, serve } from "./serve.mjs";
import { Auth } from "@auth/core";
import { KyselyAdapter } from "@auth/kysely-adapter";
import PostgresAdapter from "@auth/pg-adapter";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";

const { DATABASE_URL, SECRET, SESSIONS } = process.env;
/** The last link that was sent. */
let mail = "";

const pool = new pg.Pool({ connectionString: DATABASE_URL });
const adapters = {
  jwt: () => undefined,
  pg: () => PostgresAdapter(pool),
  prisma: () => KyselyAdapter(new Kysely({ dialect: new PostgresDialect({ pool }) })),
};
const byName = {
  id: "credentials",
  type: "credentials",
  credentials: { name: {} },
  authorize: ({ name }) => ({ id: name, name }),
};
const byMail = {
  id: "mail",
  type: "email",
  name: "mail",
  from: "app@app.example",
  maxAge: 600,
  options: {},
  sendVerificationRequest: ({ url }) => {
    mail = url;
  },
};

const config = {
  basePath: "/api/auth",
  trustHost: true,
  // A list is the newest secret first, as in Auth.js itself.
  secret: SECRET.split(","),
  adapter: adapters[SESSIONS](),
  providers: SESSIONS === "jwt" ? [byName] : [byMail],
  // As the page about identity tells an application that is asked for its sessions.
  callbacks: {
    session: ({ session, token, user }) => {
      session.user.id = token?.sub ?? String(user.id);
      return session;
    },
  },
};

serve((request) => {
  if (new URL(request.url).pathname === "/mail") return new Response(mail);
  return Auth(request, config);
});
