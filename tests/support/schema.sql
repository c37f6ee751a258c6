-- An application in the manner of Prisma's: quoted names in camel case, text ids, one column that
-- says whose a row is, and replica identities that contain it, so that a DELETE says so too.

CREATE TABLE "Organization" (
    id text PRIMARY KEY,
    name text NOT NULL
);

CREATE TABLE "User" (
    id text PRIMARY KEY,
    name text NOT NULL,
    "passwordHash" text NOT NULL
);

CREATE TABLE "OrganizationMember" (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL REFERENCES "Organization",
    "userId" text NOT NULL REFERENCES "User",
    role text NOT NULL DEFAULT 'member'
);
CREATE UNIQUE INDEX "OrganizationMember_key" ON "OrganizationMember" ("organizationId", "userId");
ALTER TABLE "OrganizationMember" REPLICA IDENTITY USING INDEX "OrganizationMember_key";

CREATE TABLE "Property" (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL,
    name text NOT NULL,
    price numeric,
    rooms integer,
    "isListed" boolean NOT NULL DEFAULT false,
    notes text,
    details jsonb,
    "listedAt" timestamp(3),
    "soldAt" timestamptz
);
CREATE UNIQUE INDEX "Property_key" ON "Property" ("organizationId", id);
ALTER TABLE "Property" REPLICA IDENTITY USING INDEX "Property_key";

-- A column that no stream shows, in a table that is streamed.
CREATE TABLE "Client" (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL,
    name text NOT NULL,
    "apiToken" text
);
CREATE UNIQUE INDEX "Client_key" ON "Client" ("organizationId", id);
ALTER TABLE "Client" REPLICA IDENTITY USING INDEX "Client_key";

-- Routed by hand: types, a channel and columns of its own.
CREATE TABLE "Activity" (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL,
    verb text NOT NULL,
    internal text
);
CREATE UNIQUE INDEX "Activity_key" ON "Activity" ("organizationId", id);
ALTER TABLE "Activity" REPLICA IDENTITY USING INDEX "Activity_key";

-- Routed by hand: to one user.
CREATE TABLE "Notification" (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL,
    "userId" text NOT NULL,
    title text NOT NULL
);
CREATE UNIQUE INDEX "Notification_key" ON "Notification" ("organizationId", "userId", id);
ALTER TABLE "Notification" REPLICA IDENTITY USING INDEX "Notification_key";

-- In the publication, but nothing says whose its rows are.
CREATE TABLE "Weather" (
    id integer PRIMARY KEY,
    sky text NOT NULL
);

INSERT INTO "Organization" VALUES ('acme', 'Acme'), ('globex', 'Globex');
INSERT INTO "User" VALUES
    ('alice', 'Alice', 'marker-hash-alice'),
    ('bob', 'Bob', 'marker-hash-bob'),
    ('carol', 'Carol', 'marker-hash-carol');
INSERT INTO "OrganizationMember" ("organizationId", "userId", role) VALUES
    ('acme', 'alice', 'owner'), ('globex', 'bob', 'owner'),
    ('acme', 'carol', 'member'), ('globex', 'carol', 'member');

GRANT SELECT ON "User", "Organization", "OrganizationMember" TO tailrace;

-- The people's table too, as an application has it whose sessions end with their users: no route
-- names its columns, so its rows reach nobody.
CREATE PUBLICATION tailrace FOR TABLE
    "User", "Organization", "OrganizationMember",
    "Property", "Client", "Activity", "Notification", "Weather";
