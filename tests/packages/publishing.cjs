// Publishes by the calls of `docs/tailrace.ts`, compiled: over HTTP, over node-postgres, and within
// a transaction that commits and one that does not. Prints what each call resolved to.
'use strict'

const { Client } = require('pg')
const { Tailrace, overDatabase, overHttp } = require(process.env.TAILRACE_JS)

/** What went wrong is for the test to read. */
const errors = []
const onError = (error) => errors.push(String(error.message ?? error))

/** The calls of applications that made their own emitter, as they are written there. */
async function calls(publisher, tenantId, userId) {
  const serverEventEmitter = publisher
  const realtimeManager = publisher
  const publishModuleEvent = (...all) => publisher.publishModuleEvent(...all)
  return [
    await serverEventEmitter.emit(tenantId, {
      type: 'activity:new',
      data: { entityType: 'client', description: `Client "Żółw" was created` },
    }),
    await realtimeManager.publish('global', 'maintenance:scheduled', {
      message: 'Scheduled maintenance in 10 minutes',
    }),
    await realtimeManager.publishToUser(userId, 'notification', { type: 'info' }),
    await publishModuleEvent('horses', 'created', { id: 123 }, userId),
    await realtimeManager.publish('breeding', 'pregnancy:confirmed', { id: 7 }),
    await realtimeManager.publish('stable:123', 'horse:shared'),
    await realtimeManager.publish('horses', 'updated', { id: 123 }),
  ]
}

async function main() {
  const { NODE_URL, NODE_KEY, DATABASE_URL } = process.env
  const options = { audience: { organizationId: 'acme' }, onError }
  const http = new Tailrace(overHttp({ url: NODE_URL, key: NODE_KEY }), options)
  const client = new Client({ connectionString: DATABASE_URL })
  await client.connect()
  const database = overDatabase((sql, parameters) => client.query(sql, parameters))
  const said = {
    http: await calls(http, 'acme', 42),
    database: await calls(http.over(database), 'acme', 42n),
  }
  await client.query('BEGIN')
  await http.over(database).emit('acme', { type: 'rolled:back' })
  await client.query('ROLLBACK')
  await client.query('BEGIN')
  await http.over(database).emit('acme', { type: 'committed', id: 'once' })
  await client.query('COMMIT')
  await http.emit('acme', { type: 'committed', id: 'once' })
  await client.end()
  // None of these rejects, and none is published.
  const wrong = new Tailrace(overHttp({ url: NODE_URL, key: 'no key of this node' }), { onError })
  const away = new Tailrace(overHttp({ url: 'http://127.0.0.1:1', key: 'k', attempts: 1 }), { onError })
  said.failed = [
    await wrong.emit('acme', { type: 'refused' }),
    await wrong.publish('breeding', 'refused'),
    await away.emit('acme', { type: 'refused' }),
    await http.emit('acme', { type: 'bye' }),
    await http.over(database).emit('acme', { type: 'refused' }),
  ]
  await http.emit('acme', { type: 'last' })
  console.log(JSON.stringify({ ...said, errors }))
}

main()
