// Publishes events through Tailrace: over a database client, within your own transaction, or over
// HTTP. One file without a dependency: copy it to where your server code is.
//
// Nothing here rejects: a forgotten `await` must not end your process. A call resolves to whether the
// event was written, and what went wrong goes to `onError`.

/** Whom an event is for. `userId` may stand beside `organizationId`. */
export type Audience =
  | { organizationId: Id; userId?: Id }
  | { userId: Id; organizationId?: undefined }
  | { global: true };

/** An id as your tables have it. */
export type Id = string | number | bigint;

/** An event: its type says what happened, its data is any JSON. */
export interface RealtimeEvent {
  type: string;
  data?: unknown;
  /** Without it: `user:<id>`, `global`, or the type up to its first `.` or `:`. */
  channel?: string;
  /** Of two events with one id for the same audience, the first is shown. */
  id?: string;
}

export interface Options {
  /** Whom `publish` is for where the channel does not say it: a tenant, or really everybody. */
  audience?: Audience;
  onError?: (error: unknown) => void;
}

/** Writes a message; rejects where it was not written. */
export type Transport = (message: string) => Promise<void>;

/**
 * Over a database client: one statement, on your connection, in your transaction if you are in one.
 * Any role may run it.
 */
export function overDatabase(
  execute: (sql: string, parameters: string[]) => PromiseLike<unknown>,
): Transport {
  // Counted, since few clients know the type of what the function returns.
  const sql = "SELECT count(pg_logical_emit_message(true, 'tailrace', $1::text))";
  return async (message) => {
    await execute(sql, [message]);
  };
}

/** Over HTTP, with a key that has the right to publish. Tries again where nobody knows what came of it. */
export function overHttp(options: { url: string; key: string; attempts?: number }): Transport {
  const url = new URL('/api/realtime/publish', options.url);
  const attempts = options.attempts ?? 3;
  const headers = {
    authorization: `Bearer ${options.key}`,
    'content-type': 'application/json',
  };
  return async (message) => {
    for (let attempt = 1; ; attempt++) {
      const sent = fetch(url, { method: 'POST', headers, body: message });
      const answer = await sent.catch((error: unknown) => error);
      if (answer instanceof Response && answer.ok) return;
      const isLast = attempt >= attempts;
      if (answer instanceof Response && (answer.status < 500 || isLast)) {
        throw new Error(`Tailrace answered ${answer.status}: ${await answer.text()}`);
      }
      if (isLast) throw answer;
      // The message has an id, so that it is shown once however often it arrives.
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
    }
  };
}

export class Tailrace {
  constructor(
    private readonly transport: Transport,
    private readonly options: Options = {},
  ) {}

  /** The same, writing elsewhere: `tailrace.over(overDatabase(…))` with a transaction's client. */
  over(transport: Transport): Tailrace {
    return new Tailrace(transport, this.options);
  }

  /** An event for everybody of a tenant. */
  emit(tenantId: Id, event: RealtimeEvent): Promise<boolean> {
    return this.send({ organizationId: tenantId }, event);
  }

  /**
   * An event of a channel: `global` is for everybody, `user:42` for that user, any other for
   * `options.audience`. An event without `:` or `.` gets its channel in front: `horses`, `created`
   * is the type `horses:created`.
   */
  publish(channel: string, event: string, data?: unknown): Promise<boolean> {
    if (channel === 'global') return this.send({ global: true }, { type: event, channel, data });
    if (channel.startsWith('user:')) return this.publishToUser(channel.slice(5), event, data);
    const type = /[.:]/.test(event) ? event : `${channel}:${event}`;
    return this.send(this.options.audience, { type, channel, data });
  }

  /** An event for one user, wherever they are; its channel is `user:<id>`. */
  publishToUser(userId: Id, event: string, data?: unknown): Promise<boolean> {
    return this.send({ userId }, { type: event, data });
  }

  /** An event of a module, for one user: `horses`, `created` is the type `horses:created`. */
  publishModuleEvent(
    module: string,
    action: string,
    data: unknown,
    userId?: Id,
  ): Promise<boolean> {
    if (userId === undefined) return this.publish(module, `${module}:${action}`, data);
    return this.publishToUser(userId, `${module}:${action}`, data);
  }

  /** What the others are made of. */
  async send(audience: Audience | undefined, event: RealtimeEvent): Promise<boolean> {
    try {
      if (!audience) throw new Error(`nobody is addressed by ${event.type}: set options.audience`);
      const to =
        'global' in audience
          ? { global: true }
          : {
              organizationId: text(audience.organizationId),
              userId: text(audience.userId),
            };
      const id = event.id ?? randomId();
      await this.transport(JSON.stringify({ ...event, ...to, id }));
      return true;
    } catch (error) {
      (this.options.onError ?? console.error)(error);
      return false;
    }
  }
}

/** Ids are texts on the way; `undefined` is left out. */
function text(id: Id | undefined): string | undefined {
  return id === undefined ? undefined : String(id);
}

function randomId(): string {
  const random = () => Math.random().toString(36).slice(2);
  return globalThis.crypto?.randomUUID?.() ?? `${Date.now().toString(36)}-${random()}${random()}`;
}
