// Prints the session that next-auth 4 puts into its cookie: its own `encode`, with the secret and the
// claims of the environment. The whole library needs Next.js, and runs in tests/nextjs.

const { encode } = require("next-auth/jwt");

const { SECRET, CLAIMS } = process.env;
encode({ secret: SECRET, token: JSON.parse(CLAIMS) }).then((session) => process.stdout.write(session));
