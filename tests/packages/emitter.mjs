// The file that applications copy (docs/tailrace.ts), as JavaScript: this Node may not read TypeScript.

import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";
import ts from "typescript";

// Node 18, which Debian 12 has, does not show it by itself.
globalThis.crypto ??= webcrypto;

const source = readFileSync(new URL("../../docs/tailrace.ts", import.meta.url), "utf8");
const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
const { outputText } = ts.transpileModule(source, { compilerOptions });

export const { Tailrace, overDatabase, overHttp } = await import(
  `data:text/javascript,${encodeURIComponent(outputText)}`
);
