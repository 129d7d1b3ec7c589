// @ts-check
/** A new version of the page, in all the states in which it can come. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { serve } from './server.js';
import { PATIENCE, SITE, accessibilityFaults, captions, launch, photo, shot, upload } from './support.js';
import { publish, storedVersions } from './versions.js';

/** @type {import('playwright-core').Browser} */ let browser;
/** @type {import('playwright-core').BrowserContext} */ let context;
/** @type {Awaited<ReturnType<typeof serve>>} */ let server;
/** Called with each request before it is answered. @type {(path: string) => unknown} */
let onRequest;
let site = '';

before(async () => {
  browser = await launch();
});
after(() => browser?.close());
beforeEach(async () => {
  site = await mkdtemp(join(tmpdir(), 'bitmar-update-'));
  await cp(SITE, site, { recursive: true });
  await publish(site, 'old');
  onRequest = () => {};
  server = await serve(site, { onRequest: (path) => onRequest(path) });
  context = await browser.newContext({ reducedMotion: 'reduce' });
});
afterEach(async () => {
  await context.close();
  await server.close();
  await rm(site, { recursive: true, force: true });
});

async function visit() {
  const page = await context.newPage();
  await page.addInitScript(() =>
    navigator.serviceWorker.addEventListener('controllerchange', () => Object.assign(window, { isTakenOver: true })));
  await page.goto(server.url);
  await page.getByText('Ready to work offline').waitFor({ timeout: PATIENCE });
  return page;
}

/** @typedef {import('playwright-core').Page} Page */

const offer = (/** @type {Page} */ page) => page.locator('#update');
const heading = (/** @type {Page} */ page) => page.locator('h1').textContent();
/** Has the browser look for a new version; gives how its installation ended. @param {Page} page */
const update = (page) =>
  page.evaluate(async () => {
    const registration = /** @type {ServiceWorkerRegistration} */ (await navigator.serviceWorker.getRegistration());
    const found = new Promise((resolve) => registration.addEventListener('updatefound', () => resolve(registration.installing)));
    registration.update();
    const worker = /** @type {ServiceWorker} */ (await found);
    while (worker.state === 'installing') await new Promise((resolve) => worker.addEventListener('statechange', resolve, { once: true }));
    return worker.state;
  });

test('a first visit is no update', async () => {
  const page = await visit();
  await page.waitForFunction(() => 'isTakenOver' in window);
  assert.ok(await offer(page).isHidden());
});

test('an update waits until it is asked for: captions go on, other tabs keep their photos and can follow', async () => {
  const [first, second] = [await visit(), await visit()];
  await upload(first, photo('cat'), photo('rocket'), photo('coffee'));
  await publish(site, 'new');
  assert.equal(await update(first), 'installed');
  for (const page of [first, second]) await offer(page).waitFor({ timeout: PATIENCE });
  const texts = await captions(first);
  assert.ok(texts.length === 3 && texts.every(Boolean), texts.join(' | '));
  await first.getByRole('button', { name: 'Remove coffee.jpg' }).click();
  await first.getByText('Removed', { exact: true }).waitFor();
  assert.ok(await offer(first).isVisible(), 'what else is said does not take its place');
  assert.deepEqual([await heading(first), await heading(second)], ['old', 'old']);
  assert.deepEqual(await accessibilityFaults(first), []);
  await shot(first, 'update-offered');

  await second.getByRole('button', { name: 'Reload' }).click();
  await second.getByRole('heading', { name: 'new' }).waitFor({ timeout: PATIENCE });
  await first.waitForFunction(() => 'isTakenOver' in window);
  assert.equal(await first.locator('.card[data-state=done]').count(), 2, 'the other tab keeps its photos');
  assert.deepEqual(await storedVersions(first), ['new']);
  await first.getByRole('button', { name: 'Reload' }).click();
  await first.getByRole('heading', { name: 'new' }).waitFor({ state: 'attached', timeout: PATIENCE });
  assert.ok(await offer(first).isHidden());
});

test('an update whose download breaks off leaves the old version whole, and comes the next time', async () => {
  const page = await visit();
  await publish(site, 'new');
  const port = Number(new URL(server.url).port);
  onRequest = (path) => path.endsWith('.wasm') && server.close();
  assert.equal(await update(page), 'redundant');
  assert.ok(await offer(page).isHidden());
  assert.deepEqual(await storedVersions(page), ['old']);
  await page.reload();
  assert.equal(await heading(page), 'old');
  await upload(page, photo('cat'));
  assert.ok((await captions(page))[0], 'without a server');
  onRequest = () => {};
  server = await serve(site, { port });
  assert.equal(await update(page), 'installed');
  await offer(page).waitFor({ timeout: PATIENCE });
});
