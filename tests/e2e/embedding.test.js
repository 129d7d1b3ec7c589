// @ts-check
/** Pages that embed the packed package under policies, from another origin, in a sandbox, in a service worker. */
import assert from 'node:assert/strict';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { installed } from './packed.js';
import { serve } from './server.js';
import { PATIENCE, launch, photo } from './support.js';

/** By the first folder of a path, all of which hold the same files: what is sent with them. @type {Record<string, Record<string, string>>} */
const SITES = {
  plain: {},
  'any-origin': { 'Access-Control-Allow-Origin': '*' },
  'no-wasm': { 'Content-Security-Policy': "script-src 'self'" },
  'no-workers': { 'Content-Security-Policy': "worker-src 'none'" },
  'own-workers': { 'Content-Security-Policy': "worker-src 'self'" },
  'trusted-types': { 'Content-Security-Policy': "require-trusted-types-for 'script'; trusted-types bitmar" },
  'other-types': { 'Content-Security-Policy': "require-trusted-types-for 'script'; trusted-types theirs" },
  'page-coep': { 'Cross-Origin-Embedder-Policy': 'require-corp' },
  'strict-page-coep': { 'Cross-Origin-Embedder-Policy': 'require-corp', 'Content-Security-Policy': "worker-src 'self'" },
};

/** @type {Awaited<ReturnType<typeof installed>>} */ let its;
/** @type {Awaited<ReturnType<typeof serve>>} */ let site;
/** @type {Awaited<ReturnType<typeof serve>>} */ let cdn;
/** @type {import('playwright-core').Browser} */ let browser;
/** @type {import('playwright-core').Page} */ let page;
/** What both servers were asked for. @type {string[]} */ let asked = [];

/** Scripts that the case under test lacks or answers with a page, by the end of their path. */
const faults = new Set();

before(async () => {
  its = await installed();
  const home = join(its.folder, 'files');
  await cp(join(its.folder, 'node_modules/bitmar'), join(home, 'bitmar'), { recursive: true });
  await cp(photo('cat'), join(home, 'cat.jpg'));
  await writeFile(join(home, 'index.html'), '<!doctype html><link rel="icon" href="data:," /><title>blank</title>');
  await writeFile(join(home, 'frame.html'), '<!doctype html><iframe sandbox="allow-scripts" src="index.html"></iframe>');
  for (const entry of ['inline', 'index']) {
    await writeFile(join(home, `sw-${entry}.js`), `
      import { BitMar } from './bitmar/${entry}.js';
      const caption = async () => (await (await BitMar.load()).caption('cat.jpg', { remember: false })).text;
      onmessage = ({ source }) => caption().then((text) => source.postMessage(text), ({ code, message }) => source.postMessage(code + ': ' + message));`);
  }
  const root = join(its.folder, 'sites');
  await mkdir(root);
  for (const name of Object.keys(SITES)) await symlink(home, join(root, name));
  const headers = (/** @type {string} */ path) => {
    // Most hosts that send these policies send them with pages only.
    const isPageOnly = /coep/.test(path) && !path.endsWith('/');
    return isPageOnly ? {} : SITES[path.split('/')[1]] ?? {};
  };
  const onRequest = (/** @type {string} */ path) => {
    asked.push(path);
    if ([...faults].some((end) => path.endsWith(end))) throw new Error('missing');
  };
  [site, cdn] = [await serve(root, { headers, onRequest }), await serve(root, { headers, onRequest })];
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await site?.close();
  await cdn?.close();
  await its?.remove();
});
beforeEach(async () => {
  await page?.context().close();
  page = await (await browser.newContext()).newPage();
  faults.clear();
  asked = [];
});

/**
 * Loads the package in a page or frame and captions the cat.
 * @param {import('playwright-core').Page | import('playwright-core').Frame} frame
 * @param {string} module the address of index.js
 * @param {object} [options] of load
 * @returns {Promise<string>} the caption, or the error's code and message
 */
const caption = (frame, module, options = {}) =>
  frame.evaluate(async ({ module, options }) => {
    const { href } = new URL(module, location.href);
    const { BitMar, BitMarError } = await import(href);
    try {
      const bitmar = await BitMar.load(options);
      const { text } = await bitmar.caption(new URL('../cat.jpg', href), { remember: false });
      bitmar.close();
      return text;
    } catch (/** @type {any} */ error) {
      if (!(error instanceof BitMarError)) throw error;
      return `${error.code}: ${error.message}`;
    }
  }, { module, options });

/** @param {string} name of a site @param {object} [options] of load */
async function captionOn(name, options) {
  await page.goto(`${site.url}${name}/`);
  return caption(page, `/${name}/bitmar/index.js`, options);
}

/** A caption rather than an error. */
const CAPTION = /^[A-Z][a-z' ]{11,}$/;

/** @param {string} answer */
const assertCaption = (answer) => assert.match(answer, CAPTION);

/** @param {string} answer */
function assertInWorker(answer) {
  assertCaption(answer);
  assert.ok(asked.some((path) => path.endsWith('/engine/engine.js')));
  assert.ok(!asked.some((path) => path.endsWith('/engine/inline-worker.js')), 'not in the page itself');
}

/** An error that comes before the model. @param {string} answer @param {RegExp} expected */
function assertEarly(answer, expected) {
  assert.match(answer, expected);
  assert.deepEqual(asked.filter((path) => /safetensors|\.wasm/.test(path)), []);
}

test('from another origin, it runs in a worker', async () => {
  await page.goto(`${site.url}plain/`);
  assertInWorker(await caption(page, `${cdn.url}any-origin/bitmar/index.js`));
});

test('from another origin, a policy against Blob workers is named', async () => {
  await page.goto(`${site.url}own-workers/`);
  assertEarly(await caption(page, `${cdn.url}any-origin/bitmar/index.js`), /^unsupported: .*allow blob: in worker-src/);
});

test('in a sandboxed frame, it runs in a worker', async () => {
  await page.goto(`${site.url}any-origin/frame.html`);
  const frame = page.frames()[1];
  assertInWorker(await caption(frame, `${site.url}any-origin/bitmar/index.js`));
  assert.equal(await frame.evaluate(async (module) => (await import(module)).BitMar.clearCache(), `${site.url}any-origin/bitmar/index.js`), false);
});

test('a policy against compiling WebAssembly is named', async () => {
  assertEarly(await captionOn('no-wasm'), /^unsupported: .*'wasm-unsafe-eval' in script-src/);
  assertEarly(await captionOn('no-wasm', { worker: false }), /^unsupported: .*'wasm-unsafe-eval' in script-src/);
});

test('a policy against workers is named, and without a worker it runs', async () => {
  assertEarly(await captionOn('no-workers'), /^unsupported: .*allow http:\/\/localhost:\d+ in worker-src/);
  assertCaption(await captionOn('no-workers', { worker: false }));
});

test('Trusted Types may allow its policy; otherwise it names it', async () => {
  assertInWorker(await captionOn('trusted-types'));
  asked = [];
  assertEarly(await captionOn('other-types'), /^unsupported: .*policy bitmar to trusted-types/);
});

test('a page alone may send Cross-Origin-Embedder-Policy', async () => {
  assertInWorker(await captionOn('page-coep'));
  asked = [];
  assertEarly(await captionOn('strict-page-coep'), /^network: .*Cross-Origin-Embedder-Policy/);
});

test('a missing worker.js, a missing import and a page in its place are named', async () => {
  faults.add('/worker.js');
  assertEarly(await captionOn('plain'), /^network: cannot load http:.*\/worker\.js: HTTP status 404; keep the files/);
  faults.clear();
  faults.add('/engine/worker-server.js');
  assertEarly(await captionOn('plain'), /^network: .*a file that it imports, cannot be loaded/);
  faults.clear();
  await page.route('**/worker.js', (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }));
  assertEarly(await captionOn('plain'), /^network: .*it is text\/html, not JavaScript/);
  assertEarly(await page.evaluate(async () => {
    const { BitMar } = await import(/** @type {any} */ ('/plain/bitmar/index.js'));
    const createWorker = () => new Worker('/nowhere.js', { type: 'module' });
    return BitMar.load({ createWorker }).catch((/** @type {any} */ error) => `${error.code}: ${error.message}`);
  }), /^network: the worker of createWorker does not start/);
});

test('a caller may have a worker that loads the package late', async () => {
  await page.goto(`${site.url}plain/`);
  const text = await page.evaluate(async () => {
    const { BitMar } = await import(/** @type {any} */ ('/plain/bitmar/index.js'));
    const code = `setTimeout(() => import('${location.href}bitmar/worker.js'), 300);`;
    const address = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
    const bitmar = await BitMar.load({ createWorker: () => new Worker(address) });
    return (await bitmar.caption(new URL('cat.jpg', location.href))).text;
  });
  assertInWorker(text);
});

test('an abort ends the wait for a worker that does not arrive', async () => {
  await page.route('**/worker.js', () => {});
  await page.goto(`${site.url}plain/`);
  const name = await page.evaluate(async () => {
    const { BitMar } = await import(/** @type {any} */ ('/plain/bitmar/index.js'));
    return BitMar.load({ signal: AbortSignal.timeout(300) }).catch((/** @type {any} */ error) => error.name);
  });
  assert.equal(name, 'TimeoutError');
});

test('a service worker runs it from its entry for them, and the other entry says so', async () => {
  for (const [entry, expected] of /** @type {const} */ ([['index', /^unsupported: .*'bitmar\/inline'/], ['inline', CAPTION]])) {
    await page.goto(`${site.url}plain/`);
    const answer = await page.evaluate(async (entry) => {
      const script = `/plain/sw-${entry}.js`;
      const registration = await navigator.serviceWorker.register(script, { type: 'module' });
      const answered = new Promise((resolve) => (navigator.serviceWorker.onmessage = ({ data }) => resolve(data)));
      navigator.serviceWorker.startMessages();
      const worker = registration.installing ?? registration.waiting ?? registration.active;
      worker?.postMessage('caption');
      const text = await answered;
      await registration.unregister();
      return /** @type {string} */ (text);
    }, entry);
    assert.match(answer, expected);
  }
});

test('baseUrl is a folder, with or without the last slash', async () => {
  await page.goto(`${site.url}plain/`);
  for (const baseUrl of [`${site.url}plain/bitmar`, '/plain/bitmar/', 'bitmar']) {
    assertCaption(await caption(page, '/plain/bitmar/index.js', { baseUrl, cache: false }));
  }
  assert.equal(asked.filter((path) => path === '/plain/bitmar/model/model.safetensors').length, 3);
});
