// @ts-check
/** The packed package under bundlers, as in examples/, and what publint and attw say of it. */
import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import esbuild from 'esbuild';
import { createServer } from 'vite';
import webpack from 'webpack';
import { installed, run } from './packed.js';
import { serve } from './server.js';
import { PATIENCE, launch, photo } from './support.js';

const example = (/** @type {string} */ name) => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
const tool = (/** @type {string} */ name) => fileURLToPath(new URL(`node_modules/.bin/${name}`, import.meta.url));

/** @type {Awaited<ReturnType<typeof installed>>} */ let own;
/** @type {import('playwright-core').Browser} */ let browser;

before(async () => {
  own = await installed();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await own?.remove();
});

/** The example with the package in its node_modules. @param {string} name */
async function copied(name) {
  await cp(example(name), own.folder, { recursive: true });
  return own.folder;
}

/** The caption that the app at an address gives the cat, and what it complained of. @param {string} url */
async function captioned(url) {
  const page = await browser.newPage();
  /** @type {string[]} */
  const errors = [];
  page.on('pageerror', ({ message }) => errors.push(message));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.goto(url);
  // The handler is there once the model is.
  const isReady = page.waitForFunction(() => document.querySelector('input')?.onchange, null, { timeout: PATIENCE });
  await isReady.catch((error) => Promise.reject(errors.length ? new Error(errors.join('\n')) : error));
  assert.equal(page.workers().length, 1, 'the model runs in a worker');
  await page.locator('input').setInputFiles(photo('cat'));
  await page.waitForFunction(() => (document.querySelector('#caption')?.textContent ?? '').split(' ').length > 3, null, { timeout: PATIENCE });
  await page.waitForTimeout(500);
  const text = await page.locator('#caption').textContent();
  await page.close();
  assert.deepEqual(errors, []);
  return text;
}

test('Vite 6 and 7 build it and Vite 8 also serves it in development, and all caption alike', async () => {
  const root = await copied('vite');
  const configFile = join(root, 'vite.config.js');
  /** @type {Record<string, string | null>} */
  const texts = {};
  for (const version of ['vite-6', 'vite-7', 'vite']) {
    const { build } = await import(version);
    await build({ root, configFile, logLevel: 'error', build: { emptyOutDir: true } });
    const site = await serve(join(root, 'dist'));
    texts[version] = await captioned(site.url).finally(site.close);
  }
  const server = await createServer({ root, configFile, logLevel: 'error', server: { port: 0, host: '127.0.0.1' } });
  await server.listen();
  const address = /** @type {import('node:net').AddressInfo} */ (server.httpServer?.address());
  texts.developed = await captioned(`http://127.0.0.1:${address.port}/`).finally(() => server.close());
  assert.ok(texts.vite && texts.vite.length > 10, String(texts.vite));
  assert.equal(new Set(Object.values(texts)).size, 1, JSON.stringify(texts));
});

test('webpack builds it', async () => {
  const root = await copied('webpack');
  const { default: config } = await import(pathToFileURL(join(root, 'webpack.config.js')).href);
  await new Promise((done, failed) =>
    webpack(config, (error, stats) => (error || stats?.hasErrors() ? failed(error ?? new Error(stats?.toString())) : done(null))),
  );
  await cp(join(root, 'index.html'), join(root, 'dist/index.html'));
  const site = await serve(join(root, 'dist'));
  const text = await captioned(site.url).finally(site.close);
  assert.ok(text && text.length > 10, String(text));
});

test('esbuild bundles it with the worker as a second entry, as bun build does', async () => {
  const root = await copied('vite');
  const home = join(root, 'node_modules/bitmar');
  const dist = join(root, 'dist');
  await esbuild.build({
    entryPoints: [join(root, 'main.js'), join(home, 'worker.js')], entryNames: '[name]', outdir: join(dist, 'js'),
    bundle: true, splitting: true, format: 'esm', logLevel: 'error',
  });
  for (const folder of ['wasm', 'model']) await cp(join(home, folder), join(dist, folder), { recursive: true });
  const html = await readFile(join(root, 'index.html'), 'utf8');
  await writeFile(join(dist, 'index.html'), html.replace('/main.js', 'js/main.js'));
  const site = await serve(dist);
  const text = await captioned(site.url).finally(site.close);
  assert.ok(text && text.length > 10, String(text));
});

test('publint and attw find nothing', async () => {
  await run(tool('publint'), [own.tarball, '--strict']);
  // The package is a module: require() of it is an error that Node explains.
  await run(tool('attw'), [own.tarball, '--profile', 'esm-only', '--exclude-entrypoints', './worker']);
});
