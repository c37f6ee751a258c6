// An issuer of signed tokens, with `jose`: POST /token {algorithm, claims} answers one, and
// /.well-known/jwks.json has the public keys. POST /rotate takes new keys and withdraws the old. HS256 is
// for applications that sign with a secret of their own.

import { ORIGIN, serve } from "./serve.mjs";
import { SignJWT, exportJWK, generateKeyPair } from "jose";

const ALGORITHMS = ["RS256", "ES256", "EdDSA"];
let generation = 0;
let keys = await newKeys();

async function newKeys() {
  generation += 1;
  const made = ALGORITHMS.map(async (algorithm) => {
    const { privateKey, publicKey } = await generateKeyPair(algorithm);
    const kid = `${algorithm}-${generation}`;
    const shown = { ...(await exportJWK(publicKey)), kid, alg: algorithm, use: "sig" };
    return [algorithm, { kid, privateKey, shown }];
  });
  return new Map(await Promise.all(made));
}

async function token({ algorithm, claims }) {
  const { kid, privateKey } =
    algorithm === "HS256" ? { privateKey: new TextEncoder().encode(process.env.SECRET) } : keys.get(algorithm);
  return new SignJWT({ iss: ORIGIN, ...claims })
    .setProtectedHeader({ alg: algorithm, ...(kid ? { kid } : {}) })
    .setIssuedAt()
    .setExpirationTime("10m")
    .sign(privateKey);
}

serve(async (request) => {
  switch (`${request.method} ${new URL(request.url).pathname}`) {
    case "GET /.well-known/jwks.json":
      return Response.json({ keys: [...keys.values()].map(({ shown }) => shown) });
    case "POST /token":
      return new Response(await token(await request.json()));
    case "POST /rotate":
      keys = await newKeys();
      return new Response("rotated");
    default:
      return new Response("nothing here", { status: 404 });
  }
});
