// @ts-check
/// <reference lib="webworker" />
/**
 * Keeps the page and everything it needs, so that it works with no server.
 * build.sh writes sw.js from this file: the version is a hash of the files.
 */
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const { scope } = worker.registration;
const VERSION = '{{version}}';
// Caches belong to the origin, which other copies of the page may share.
const PREFIX = `bitmar ${scope} `;
const CACHE = PREFIX + VERSION;

/** The wasm build this browser runs; the other is not stored. */
const BUILD = new URL(worker.location.href).searchParams.get('build') ?? 'simd128';
const OTHER = `/wasm/${BUILD === 'relaxed' ? 'simd128' : 'relaxed'}/`;

/** Pictures that only an app store or an install dialog shows. */
const ADVERTS = '/screenshots/';

const FILES = '{{files}}'.trim().split(' ').filter((path) => !path.includes(OTHER) && !path.includes(ADVERTS));

/** Where shared photos wait for the page: arrivals.js takes them. */
const SHARED = `bitmar-shared ${scope}`;

async function store() {
  const cache = await caches.open(CACHE);
  // no-cache asks the server whether what the page has just loaded is still right, and copies it.
  try {
    await cache.addAll(FILES.map((path) => new Request(path, { cache: 'no-cache' })));
  } catch (error) {
    await caches.delete(CACHE);
    throw error;
  }
}

async function dropOldVersions() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
}

/** The page under any of its addresses; what else lies in the folder, as another copy of the page, is not it. */
const PAGE = [scope, `${scope}index.html`];

/** @param {Request} request */
async function answer(request) {
  const cache = await caches.open(CACHE);
  const isPage = request.mode === 'navigate' && PAGE.includes(request.url.replace(/[?#].*/, ''));
  const stored = await cache.match(isPage ? './' : request, { ignoreSearch: isPage, ignoreVary: true });
  return stored ?? fetch(request);
}

/** Keeps what another app shared until the page it opens takes it. @param {Request} request */
async function receive(request) {
  const cache = await caches.open(SHARED);
  const files = (await request.formData()).getAll('photos').filter((entry) => entry instanceof File && entry.name);
  for (const file of files) {
    const headers = { 'Content-Type': file.type, 'X-Name': encodeURIComponent(file.name) };
    await cache.put(`./shared/${crypto.randomUUID()}`, new Response(file, { headers }));
  }
  return Response.redirect('./?shared', 303);
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
  if (method === 'GET' && url.startsWith(scope)) event.respondWith(answer(event.request));
  if (method === 'POST' && url === `${scope}share`) event.respondWith(receive(event.request));
});
