// An SSE fan-out server on Node's own `http`, as our users have it today: a Map from organisation to
// the Set of its open responses, and `write` to each of them. Nothing that would make it slower: no
// sessions, no filters, no resume, no heartbeat, and the event is one Buffer for all of them.
//
// `GET /stream?organizationId=o1` is a stream. `POST /publish?organizationId=o1` sends its body, one or
// more whole event blocks, to every stream of that organisation, and without the parameter to all of
// them. It prints `listening <address>` and runs until it is ended.
import http from 'node:http';

/** Organisation → the responses of its streams. */
const organisations = new Map();

/** How many connections may wait to be accepted: as the other servers of the comparison have it. */
const BACKLOG = 1024;

const server = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost');
    const organisation = searchParams.get('organizationId');
    if (request.method === 'GET' && pathname === '/stream') {
        stream(organisation, response);
    } else if (request.method === 'POST' && pathname === '/publish') {
        publish(organisation, request, response);
    } else {
        response.writeHead(404).end();
    }
});

function stream(organisation, response) {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.flushHeaders();
    if (!organisations.has(organisation)) {
        organisations.set(organisation, new Set());
    }
    const streams = organisations.get(organisation);
    streams.add(response);
    response.on('close', () => {
        streams.delete(response);
        if (streams.size === 0 && organisations.get(organisation) === streams) {
            organisations.delete(organisation);
        }
    });
}

function publish(organisation, request, response) {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
        const event = Buffer.concat(chunks);
        const audience =
            organisation === null ? organisations.values() : [organisations.get(organisation) ?? []];
        for (const streams of audience) {
            for (const stream of streams) {
                stream.write(event);
            }
        }
        response.writeHead(204).end();
    });
}

// Whoever publishes keeps its connection however long it has nothing to say.
server.keepAliveTimeout = 0;
server.listen(0, '127.0.0.1', BACKLOG, () => {
    console.log(`listening 127.0.0.1:${server.address().port}`);
});
