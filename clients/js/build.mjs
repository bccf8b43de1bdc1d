// node build.mjs [--check]: builds dist/client.js and dist/client.d.ts from src; with --check says whether they are what it
// would build, and changes nothing. The broker has dist/client.js in its binary, so both files are kept in the repository.

import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = fileURLToPath(new URL(".", import.meta.url));
/** What the compressed file has at most, in bytes. */
const BYTES_MAX = 8 * 1024;

const { version } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
const banner = `/*! wirefan ${version}, MIT OR Apache-2.0 */`;

/** Members of our own objects, which get short names: nothing of the platform, the protocol or the package is called so. */
const OWN =
  "acked answer ask base begin begun calls changed check current ended expect expire fail failed guard handler host knock least leave " +
  "length_ link live most nextId opened peek probe pump refuse refused release request requeue sentAt serves skip source " +
  "stop stopped subs sync take tell wake wantsLast wild";

async function code() {
  const { outputFiles } = await build({
    entryPoints: [join(here, "src/client.ts")],
    bundle: true,
    format: "esm",
    target: "es2022",
    minify: true,
    mangleProps: new RegExp(`^(${OWN.replaceAll(" ", "|")})$`),
    legalComments: "none",
    banner: { js: banner },
    write: false,
  });
  return outputFiles[0].text;
}

/** The declarations of what is public, in one file. */
function types() {
  const out = mkdtempSync(join(tmpdir(), "wirefan-types-"));
  try {
    const flags = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--stripInternal", "--outDir", out];
    execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "--project", here, ...flags], { stdio: "inherit" });
    const parts = ["api", "emitter", "client"].map((name) => readFileSync(join(out, `${name}.d.ts`), "utf8"));
    const own = parts.join("\n").replace(/^(import|export \*)[^;]*;\n/gm, "").replace(/^export (declare class Emits\b)/m, "$1");
    return `${banner}\n${own}export {};\n`.replace(/ {4}/g, "  ").replaceAll("OnMessage<T>", "unknown");
  } finally {
    rmSync(out, { recursive: true });
  }
}

const made = { "dist/client.js": await code(), "dist/client.d.ts": types() };
const bytes = gzipSync(made["dist/client.js"], { level: 9 }).length;
if (bytes > BYTES_MAX) throw new Error(`dist/client.js has ${bytes} bytes compressed, at most ${BYTES_MAX}`);
for (const [name, text] of Object.entries(made)) {
  const path = join(here, name);
  if (!process.argv.includes("--check")) {
    mkdirSync(join(here, "dist"), { recursive: true });
    writeFileSync(path, text);
  } else if (readFileSync(path, "utf8") !== text) {
    throw new Error(`${name} is not what its source makes: npm run build`);
  }
}
console.log(`dist/client.js: ${made["dist/client.js"].length} bytes, ${bytes} compressed`);
