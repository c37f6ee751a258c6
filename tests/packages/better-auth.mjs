// An application with Better Auth: its own tables, made by its own migrations, and its own HTTP routes
// below /api/auth, with the plugins `organization`, `admin` and `jwt`. With TENANT_COLUMN the table of users
// has a column of this name, for an application in which everybody belongs to one tenant.

import { ORIGIN, serve } from "./serve.mjs";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { admin, jwt, organization } from "better-auth/plugins";
import pg from "pg";

const { DATABASE_URL, SECRET, TENANT_COLUMN } = process.env;
const additionalFields = TENANT_COLUMN ? { [TENANT_COLUMN]: { type: "string", required: false } } : {};

const auth = betterAuth({
  baseURL: ORIGIN,
  secret: SECRET,
  database: new pg.Pool({ connectionString: DATABASE_URL }),
  user: { additionalFields },
  emailAndPassword: { enabled: true },
  // One test asks faster than any person.
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  plugins: [
    organization({ requireEmailVerificationOnInvitation: false }),
    admin(),
    jwt({ jwt: { issuer: ORIGIN, audience: ORIGIN, expirationTime: "15m" } }),
  ],
});

const { runMigrations } = await getMigrations(auth.options);
await runMigrations();
serve((request) => auth.handler(request));
