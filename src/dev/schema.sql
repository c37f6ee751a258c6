-- The sample application of `tailrace dev`, in the manner of Prisma: quoted camelCase names, text
-- ids with a default, timestamps without time zone that hold UTC. Run at every start by the
-- database's owner, in one transaction; it changes nothing that is already there.

CREATE TABLE IF NOT EXISTS "Organization" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "name" text NOT NULL,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- "passwordHash" is here to be withheld: no stream ever shows it.
CREATE TABLE IF NOT EXISTS "User" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "email" text NOT NULL UNIQUE,
    "name" text,
    "passwordHash" text,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS "OrganizationMember" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL REFERENCES "Organization" ("id") ON DELETE CASCADE,
    "userId" text NOT NULL REFERENCES "User" ("id") ON DELETE CASCADE,
    "role" text NOT NULL DEFAULT 'member',
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "OrganizationMember_organizationId_userId_key" UNIQUE ("organizationId", "userId")
);

CREATE TABLE IF NOT EXISTS "Property" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL REFERENCES "Organization" ("id") ON DELETE CASCADE,
    "name" text NOT NULL,
    "price" numeric(14, 2),
    "status" text NOT NULL DEFAULT 'available',
    "notes" text,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS "Client" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL REFERENCES "Organization" ("id") ON DELETE CASCADE,
    "name" text NOT NULL,
    "email" text,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS "Activity" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL REFERENCES "Organization" ("id") ON DELETE CASCADE,
    "userId" text REFERENCES "User" ("id") ON DELETE SET NULL,
    "action" text NOT NULL,
    "entityType" text,
    "entityId" text,
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS "Notification" (
    "id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL REFERENCES "Organization" ("id") ON DELETE CASCADE,
    "userId" text NOT NULL REFERENCES "User" ("id") ON DELETE CASCADE,
    "title" text NOT NULL,
    "body" text,
    "readAt" timestamp(3),
    "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- A deleted row must say which organisation it belonged to, so the replica identity has to contain
-- that column: a unique index over it and the id (PostgreSQL, "ALTER TABLE", REPLICA IDENTITY).
CREATE UNIQUE INDEX IF NOT EXISTS "Property_organizationId_id_key"
    ON "Property" ("organizationId", "id");
CREATE UNIQUE INDEX IF NOT EXISTS "Client_organizationId_id_key"
    ON "Client" ("organizationId", "id");
CREATE UNIQUE INDEX IF NOT EXISTS "Activity_organizationId_id_key"
    ON "Activity" ("organizationId", "id");
CREATE UNIQUE INDEX IF NOT EXISTS "Notification_organizationId_userId_id_key"
    ON "Notification" ("organizationId", "userId", "id");

-- And a publication, which is the list of tables that the node may read. It is made after the
-- replica identities: a table without one that is published refuses UPDATE and DELETE.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'tailrace') THEN
        ALTER TABLE "OrganizationMember"
            REPLICA IDENTITY USING INDEX "OrganizationMember_organizationId_userId_key";
        ALTER TABLE "Property" REPLICA IDENTITY USING INDEX "Property_organizationId_id_key";
        ALTER TABLE "Client" REPLICA IDENTITY USING INDEX "Client_organizationId_id_key";
        ALTER TABLE "Activity" REPLICA IDENTITY USING INDEX "Activity_organizationId_id_key";
        ALTER TABLE "Notification"
            REPLICA IDENTITY USING INDEX "Notification_organizationId_userId_id_key";
        CREATE PUBLICATION tailrace FOR TABLE
            "Organization", "User", "OrganizationMember",
            "Property", "Client", "Activity", "Notification";
    END IF;
END
$$;

-- Where POST /api/realtime/revoke writes whom the application throws out, as `tailrace init` makes it.
CREATE SCHEMA IF NOT EXISTS tailrace;
CREATE TABLE IF NOT EXISTS tailrace.revocation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "user" text,
    session text,
    organization text,
    issued_before timestamptz,
    until timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_publication_tables
                   WHERE pubname = 'tailrace' AND schemaname = 'tailrace') THEN
        ALTER PUBLICATION tailrace ADD TABLE tailrace.revocation;
    END IF;
END
$$;
GRANT USAGE ON SCHEMA tailrace TO tailrace;
GRANT SELECT, INSERT ON tailrace.revocation TO tailrace;

-- The node reads changes from the log, which needs no right to the tables; it asks only who belongs
-- where, and who there is.
GRANT SELECT ON "OrganizationMember" TO tailrace;
GRANT SELECT ("id") ON "User" TO tailrace;
GRANT SELECT ("id") ON "Organization" TO tailrace;

DO $$
BEGIN
    IF EXISTS (SELECT FROM "Organization") THEN
        RETURN;
    END IF;
    INSERT INTO "Organization" ("id", "name") VALUES ('acme', 'Acme'), ('globex', 'Globex');
    INSERT INTO "User" ("id", "email", "name", "passwordHash") VALUES
        ('alice', 'alice@acme.example', 'Alice', 'sample-hash-of-alice'),
        ('bob', 'bob@globex.example', 'Bob', 'sample-hash-of-bob'),
        ('carol', 'carol@agency.example', 'Carol', 'sample-hash-of-carol');
    INSERT INTO "OrganizationMember" ("organizationId", "userId", "role") VALUES
        ('acme', 'alice', 'owner'),
        ('globex', 'bob', 'owner'),
        ('acme', 'carol', 'member'),
        ('globex', 'carol', 'member');
    INSERT INTO "Property" ("organizationId", "name", "price", "status", "notes") VALUES
        ('acme', 'Harbour View 3', 420000.00, 'available', 'South-facing balcony'),
        ('acme', 'Mill Lane 12', 289500.00, 'reserved', NULL),
        ('globex', 'Orchard House', 715000.00, 'available', 'Large garden'),
        ('globex', 'Station Road 40', 198000.00, 'sold', NULL);
    INSERT INTO "Client" ("organizationId", "name", "email") VALUES
        ('acme', 'Dana Reed', 'dana@client.example'),
        ('globex', 'Eli Moss', 'eli@client.example');
END
$$;
