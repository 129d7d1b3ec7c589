// @ts-check
/// <reference lib="webworker" />
/**
 * Stores the page and everything it needs, so that it works without a network connection.
 * build.sh writes sw.js from this file; the version is a hash of the files.
 */
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const { scope } = worker.registration;
const VERSION = '{{version}}';
// Other copies of the page may share the origin, and with it the caches.
const PREFIX = `bitmar ${scope} `;
const CACHE = PREFIX + VERSION;

/** The wasm build that this browser runs; the module of the other one is not stored. */
const BUILD = new URL(worker.location.href).searchParams.get('build') ?? 'simd128';
const OTHER = `/wasm/${BUILD === 'relaxed' ? 'simd128' : 'relaxed'}/bitmar_bg.wasm`;

/** Images that only app stores and install dialogs show. */
const SCREENSHOTS = '/screenshots/';

const FILES = '{{files}}'
  .trim()
  .split(' ')
  .filter((path) => !path.includes(OTHER) && !path.includes(SCREENSHOTS));

/** The cache where shared photos wait until arrivals.js takes them. */
const SHARED = `bitmar-shared ${scope}`;

async function store() {
  const cache = await caches.open(CACHE);
  // With no-cache, files that the page has just loaded are revalidated, not downloaded again.
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

/** The URLs of the page. Other pages in its folder, such as another copy, are not answered. */
const PAGE = [scope, `${scope}index.html`];

/** @param {Request} request */
async function answer(request) {
  const cache = await caches.open(CACHE);
  const isPage = request.mode === 'navigate' && PAGE.includes(request.url.replace(/[?#].*/, ''));
  const options = { ignoreSearch: isPage, ignoreVary: true };
  return (await cache.match(isPage ? './' : request, options)) ?? fetch(request);
}

/** Keeps photos that another app shared until the page takes them. @param {Request} request */
async function receive(request) {
  const cache = await caches.open(SHARED);
  const entries = (await request.formData()).getAll('photos');
  const files = entries.filter((entry) => entry instanceof File && entry.name);
  for (const file of files) {
    const headers = { 'Content-Type': file.type, 'X-Name': encodeURIComponent(file.name) };
    // Where space is short; the page says so if no photo arrives.
    await cache.put(`./shared/${crypto.randomUUID()}`, new Response(file, { headers })).catch(() => {});
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
