// A mutation of an application in which everybody belongs to one tenant, as its documentation has it: it
// writes a row and emits an event. PostgreSQL and the emitter are real; tRPC's router is stood in for by
// what it comes to here, a function from context and input to an answer.

import { Tailrace, overDatabase } from "./emitter.mjs";
import pg from "pg";

const { DATABASE_URL, TENANT, NAME } = process.env;

const CREATE_CLIENT = `
// In tRPC router or API route
import { serverEventEmitter } from '@/lib/realtime/event-emitter';

export const clientsRouter = router({
  create: protectedProcedure
    .input(createClientSchema)
    .mutation(async ({ ctx, input }) => {
      const [newClient] = await db
        .insert(clients)
        .values({ ...input, tenantId: ctx.authContext.tenantId })
        .returning();

      // Emit real-time activity event
      serverEventEmitter.emit(ctx.authContext.tenantId, {
        type: 'activity:new',
        data: {
          id: crypto.randomUUID(),
          entityType: 'client',
          entityId: newClient.id,
          action: 'created',
          description: \`Client "\${newClient.name}" was created\`,
          userName: \`\${ctx.authContext.firstName} \${ctx.authContext.lastName}\`,
          createdAt: new Date().toISOString(),
        },
      });

      return { client: newClient };
    }),
});
`;

const NOTIFY = `
// Emit urgent notification
serverEventEmitter.emit(tenantId, {
  type: 'notification:new',
  data: {
    id: crypto.randomUUID(),
    type: 'urgent',
    title: 'Compliance Deadline',
    message: 'VAT return due in 24 hours for ABC Ltd',
    actionUrl: '/client-hub/compliance',
  },
});
`;

const pool = new pg.Pool({ connectionString: DATABASE_URL });
const emitted = [];
const tailrace = new Tailrace(
  overDatabase((sql, parameters) => pool.query(sql, parameters)),
  {
    onError: (error) => {
      throw error;
    },
  },
);
// A server goes on after an answer, and this script does not: it waits for what was emitted.
const serverEventEmitter = { emit: (tenant, event) => emitted.push(tailrace.emit(tenant, event)) };

const clients = "clients";
const db = {
  insert: (table) => ({
    values: ({ name, tenantId }) => ({
      returning: async () => {
        const sql = `INSERT INTO ${table} (name, "tenantId") VALUES ($1, $2) RETURNING *`;
        return (await pool.query(sql, [name, tenantId])).rows;
      },
    }),
  }),
};
const procedure = { input: () => procedure, mutation: (run) => run };

const body = CREATE_CLIENT.replace(/^import .*\n/m, "").replace("export const clientsRouter =", "return");
const names = ["serverEventEmitter", "router", "protectedProcedure", "createClientSchema", "db", "clients"];
const clientsRouter = new Function(...names, body)(
  serverEventEmitter,
  (routes) => routes,
  procedure,
  {},
  db,
  clients,
);
const authContext = { tenantId: TENANT, firstName: "Alice", lastName: "Miller" };
await clientsRouter.create({ ctx: { authContext }, input: { name: NAME } });
new Function("serverEventEmitter", "tenantId", NOTIFY)(serverEventEmitter, TENANT);
await Promise.all(emitted);
await pool.end();
