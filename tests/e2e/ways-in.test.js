// @ts-check
/** The ways in that an installed page has: photos shared by another app, files, shortcuts, the camera. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';
import { serve } from './server.js';
import { LAUNCH, PATIENCE, SITE, accessibilityFaults, captions, photo, photoBytes, shot, site } from './support.js';

const here = site();
/** @type {import('playwright-core').BrowserContext} */ let context;
/** @type {import('playwright-core').Page} */ let page;

beforeEach(async () => {
  // The system's share is not under the page's policy; the form that stands for it would be.
  context = await here.browser.newContext({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, bypassCSP: true });
  page = await context.newPage();
});
afterEach(() => context.close());

async function installed(url = here.url) {
  await page.goto(url);
  await page.getByText('Ready to work offline').waitFor({ timeout: PATIENCE });
}

/**
 * What the system does when photos are shared with the installed page: a form is posted to its share target.
 * @param {Record<string, number[]>} photos
 */
async function share(photos) {
  const arrived = page.waitForEvent('load', { timeout: PATIENCE });
  await page.evaluate(({ photos, action }) => {
    const form = document.createElement('form');
    Object.assign(form, { action, method: 'post', enctype: 'multipart/form-data' });
    const input = Object.assign(document.createElement('input'), { type: 'file', name: 'photos', multiple: true });
    const transfer = new DataTransfer();
    for (const [name, bytes] of Object.entries(photos)) {
      transfer.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/jpeg' }));
    }
    input.files = transfer.files;
    form.append(input);
    document.body.append(form);
    form.submit();
  }, { photos, action: `${here.url}share` });
  await arrived;
}

test('shared photos are captioned without a server, once', async () => {
  await installed();
  await context.setOffline(true);
  await share({ 'Größe 1.jpg': await photoBytes('cat'), 'b.jpg': await photoBytes('rocket') });
  await page.locator('.card').nth(1).waitFor({ timeout: PATIENCE });
  const texts = await captions(page);
  assert.equal(texts.length, 2);
  assert.ok(texts.every((text) => text.split(' ').length >= 3), texts.join(' | '));
  const names = await page.locator('.photo').evaluateAll((images) => images.map((image) => /** @type {any} */ (image).alt).sort());
  assert.deepEqual(names, ['Photo: Größe 1.jpg', 'Photo: b.jpg'].sort());
  await shot(page, 'shared');
  await page.reload();
  await page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
  assert.equal(await page.locator('.card').count(), 0, 'a reload does not bring them again');
});

test('the system opens photos in the installed page', async (t) => {
  const profile = await mkdtemp(join(tmpdir(), 'bitmar-installed-'));
  const installing = await chromium.launchPersistentContext(profile, LAUNCH);
  t.after(async () => {
    await installing.close();
    await rm(profile, { recursive: true, force: true });
  });
  const [visited] = installing.pages();
  await visited.goto(here.url);
  const session = await installing.newCDPSession(visited);
  const app = { manifestId: here.url };
  await session.send('PWA.install', { ...app, installUrlOrBundleUrl: here.url });
  const { fileHandlers } = await session.send('PWA.getOsAppState', app);
  const extensions = fileHandlers.flatMap(({ accepts }) => accepts.flatMap(({ fileExtensions }) => fileExtensions));
  assert.deepEqual(extensions.sort(), ['.gif', '.jpeg', '.jpg', '.png', '.webp']);
  const opening = installing.waitForEvent('page', { timeout: PATIENCE });
  await session.send('PWA.launchFilesInApp', { ...app, files: [photo('cat'), photo('rocket')] });
  const opened = await opening;
  await opened.locator('.card').nth(1).waitFor({ timeout: PATIENCE });
  const texts = await captions(opened);
  assert.ok(texts.every((text) => text.split(' ').length >= 3), texts.join(' | '));
  const names = await opened.locator('.photo').evaluateAll((images) => images.map((image) => /** @type {any} */ (image).alt));
  assert.deepEqual(names, ['Photo: cat.jpg', 'Photo: rocket.jpg']);
});

test('two copies of the page on one origin, one in a folder of the other, each take their own photos', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'bitmar-copies-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const name of await readdir(SITE)) await symlink(join(SITE, name), join(folder, name));
  await symlink(SITE, join(folder, 'inner'));
  /** @type {string[]} */ const asked = [];
  const server = await serve(folder, { onRequest: (path) => asked.push(path) });
  t.after(() => server.close());
  const [outer, inner] = [server.url, `${server.url}inner/`];
  await installed(outer);
  await installed(inner);
  assert.ok(asked.includes('/inner/'), 'the outer page does not stand for the inner one');
  const photos = { [outer]: 'cat', [inner]: 'rocket' };
  for (const [url, name] of Object.entries(photos)) {
    await page.goto(url);
    // As a share whose page was not opened yet: it waits.
    await page.evaluate(async ({ bytes, name }) => {
      const body = new FormData();
      body.append('photos', new File([new Uint8Array(bytes)], name, { type: 'image/jpeg' }));
      await fetch('share', { method: 'POST', body, redirect: 'manual' });
    }, { bytes: await photoBytes(name), name });
  }
  for (const [url, name] of Object.entries(photos)) {
    await page.goto(`${url}?shared`);
    await page.locator('.card').first().waitFor({ timeout: PATIENCE });
    await captions(page);
    const names = await page.locator('.photo').evaluateAll((images) => images.map((image) => /** @type {any} */ (image).alt));
    assert.deepEqual(names, [`Photo: ${name}`], url);
  }
});

test('a share without photos opens the empty page, which says so', async () => {
  await installed();
  await share({});
  await page.getByText('No photo arrived').waitFor({ timeout: PATIENCE });
  await page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
  assert.equal(await page.locator('.card').count(), 0);
});

test('the shortcut opens the memory', async () => {
  await page.goto(`${here.url}?memory`);
  await page.getByRole('dialog', { name: 'Memory' }).waitFor({ timeout: PATIENCE });
  assert.equal(new URL(page.url()).search, '', 'a reload does not open it again');
});

test('a phone offers its camera, a desktop does not', async () => {
  await page.goto(here.url);
  const camera = page.locator('#camera');
  assert.equal(await camera.getAttribute('capture'), 'environment');
  assert.ok(await page.getByText('Take a photo').isVisible());
  await page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await shot(page, `camera-${colorScheme}`);
    assert.deepEqual(await accessibilityFaults(page), []);
  }
  await camera.setInputFiles(photo('coffee'));
  assert.ok((await captions(page))[0]);
  const desktop = await here.browser.newPage();
  await desktop.goto(here.url);
  assert.ok(await desktop.getByText('Take a photo').isHidden());
  await desktop.close();
});

test('Chromium finds no fault in the manifest, and its pictures are what it says', async () => {
  await installed();
  const session = await context.newCDPSession(page);
  const { errors, manifest: parsed } = /** @type {any} */ (await session.send('Page.getAppManifest'));
  assert.deepEqual(errors, []);
  assert.equal(parsed.shareTarget.action, `${here.url}share`);
  assert.equal(parsed.shareTarget.method, 'kPost');
  assert.equal(parsed.startUrl, here.url);
  assert.equal(parsed.shortcuts.length, 1);
  const manifest = JSON.parse(await readFile(`${SITE}/manifest.webmanifest`, 'utf8'));
  assert.deepEqual(parsed.screenshots.map((/** @type {any} */ { formFactor }) => formFactor), ['kWide', 'kNarrow']);
  for (const { src, sizes, type } of [...manifest.screenshots, ...manifest.icons.slice(1)]) {
    const found = await page.evaluate(async ({ src, type }) => {
      const bytes = await (await fetch(src)).arrayBuffer();
      const { width, height } = await createImageBitmap(new Blob([bytes], { type }));
      return `${width}x${height}`;
    }, { src, type });
    assert.equal(found, sizes, src);
  }
  const stored = await page.evaluate(async () => {
    const names = await caches.keys();
    return (await Promise.all(names.map(async (name) => (await (await caches.open(name)).keys()).map(({ url }) => url)))).flat();
  });
  assert.ok(stored.some((url) => url.endsWith('/manifest.webmanifest')));
  assert.ok(!stored.some((url) => url.includes('/screenshots/')), 'the pictures are not stored for offline use');
});
