// @ts-check
/// <reference lib="webworker" />
/**
 * Keeps the page and everything it needs, so that it works with no server.
 * build.sh writes sw.js from this file: the version is a hash of the files.
 */
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const VERSION = '{{version}}';
const PREFIX = `bitmar ${worker.registration.scope} `;
const CACHE = PREFIX + VERSION;

/** The wasm build this browser runs; the other is not stored. */
const BUILD = new URL(worker.location.href).searchParams.get('build') ?? 'simd128';
const OTHER = `/wasm/${BUILD === 'relaxed' ? 'simd128' : 'relaxed'}/`;

const FILES = '{{files}}'.trim().split(' ').filter((path) => !path.includes(OTHER));

async function store() {
  const cache = await caches.open(CACHE);
  // no-cache asks the server whether what the page has just loaded is still right, and copies it.
  await cache.addAll(FILES.map((path) => new Request(path, { cache: 'no-cache' })));
}

async function dropOldVersions() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
}

/** @param {Request} request */
async function answer(request) {
  const cache = await caches.open(CACHE);
  const isPage = request.mode === 'navigate';
  const stored = await cache.match(isPage ? './' : request, { ignoreSearch: isPage, ignoreVary: true });
  return stored ?? fetch(request);
}

worker.addEventListener('install', (event) => event.waitUntil(store()));

worker.addEventListener('activate', (event) =>
  event.waitUntil(dropOldVersions().then(() => worker.clients.claim())),
);

worker.addEventListener('message', ({ data }) => {
  if (data === 'skip-waiting') worker.skipWaiting();
});

worker.addEventListener('fetch', (event) => {
  const { method, url } = event.request;
  if (method === 'GET' && url.startsWith(worker.registration.scope)) event.respondWith(answer(event.request));
});
