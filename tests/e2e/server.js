// @ts-check
/**
 * A static file server for localhost: right types, compression, revalidation, a strict policy.
 * `node server.js FOLDER [PORT]` serves a folder; the tests start it themselves.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { constants, gzipSync } from 'node:zlib';

/** @type {Record<string, string>} */
const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.safetensors': 'application/octet-stream',
  '.svg': 'image/svg+xml',
  '.ts': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
};

/** Already dense: packing them again gains nothing. */
const DENSE = new Set(['.jpg', '.png', '.safetensors']);

/** Size in bytes above which a file is compressed fast rather than well. */
const LARGE = 500_000;

/** @type {Map<string, { tag: string, plain: Buffer, packed: Buffer | null }>} */
const cache = new Map();

/** @param {string} path */
async function load(path) {
  const { mtimeMs, size } = await stat(path);
  const key = `${path} ${mtimeMs} ${size}`;
  const known = cache.get(key);
  if (known) return known;
  const plain = await readFile(path);
  const tag = `"${createHash('sha256').update(plain).digest('base64url').slice(0, 16)}"`;
  // Half a second for a large file would hold everything else up.
  const level = plain.length > LARGE ? constants.Z_BEST_SPEED : constants.Z_BEST_COMPRESSION;
  const packed = DENSE.has(extname(path)) ? null : gzipSync(plain, { level });
  const file = { tag, plain, packed };
  cache.set(key, file);
  return file;
}

/**
 * @param {string} folder
 * @param {{ port?: number, headers?: Record<string, string> | ((path: string) => Record<string, string>), onRequest?: (path: string) => unknown,
 *   onHalf?: (path: string) => unknown }} [options] the answer waits for what `onRequest` gives, its second half for `onHalf`
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 */
export async function serve(folder, { port = 0, headers = {}, onRequest, onHalf } = {}) {
  const root = resolve(folder);
  const server = createServer(async (request, response) => {
    try {
      const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
      await onRequest?.(path);
      const file = normalize(join(root, path.endsWith('/') ? `${path}index.html` : path));
      if (!file.startsWith(root + sep)) throw new Error('outside the folder');
      const { tag, plain, packed } = await load(file);
      const isPacked = packed !== null && /\bgzip\b/.test(String(request.headers['accept-encoding']));
      const head = {
        'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
        'X-Content-Type-Options': 'nosniff',
        'Cache-Control': 'no-cache',
        Vary: 'Accept-Encoding',
        ETag: tag,
        ...(typeof headers === 'function' ? headers(path) : headers),
      };
      if (request.headers['if-none-match'] === tag) return response.writeHead(304, head).end();
      const body = isPacked ? packed : plain;
      const encoding = isPacked ? { 'Content-Encoding': 'gzip' } : {};
      response.writeHead(200, { ...head, ...encoding, 'Content-Length': body.length });
      if (request.method === 'HEAD') return response.end();
      const half = body.length >> 1;
      response.write(body.subarray(0, half));
      await onHalf?.(path);
      response.end(body.subarray(half));
    } catch {
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('not found\n');
    }
  });
  await new Promise((started, failed) => server.once('error', failed).listen(port, '127.0.0.1', () => started(null)));
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  const close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(() => done(undefined)));
  };
  return { url: `http://localhost:${address.port}/`, close: /** @type {() => Promise<void>} */ (close) };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder, port] = process.argv.slice(2);
  const { url } = await serve(folder, { port: Number(port ?? 8080) });
  console.log(`bitmar is at ${url} (Ctrl+C ends it)`);
}
