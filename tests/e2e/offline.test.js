// @ts-check
/** The installed page: without a server, and when a new version comes. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { serve } from './server.js';
import { LAUNCH, PATIENCE, SITE, captions, photo, shot, upload } from './support.js';
import { publish, storedVersions } from './versions.js';

/** A folder of the tests' own: the served copy of the site, and the browser's profile. */
let folder = '';
/** @type {import('playwright-core').BrowserContext} */ let context;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bitmar-offline-'));
  // In a sub-folder, as on most static hosts.
  await cp(SITE, join(folder, 'site/captions'), { recursive: true });
  context = await chromium.launchPersistentContext(join(folder, 'profile'), LAUNCH);
});
after(async () => {
  await context?.close();
  await rm(folder, { recursive: true, force: true });
});

const isReadyOffline = (/** @type {import('playwright-core').Page} */ page) =>
  page.getByText('Ready to work offline').waitFor({ timeout: PATIENCE });

test('the page is installable, works with the server dead, and takes an update when asked', async (t) => {
  /** @type {string[]} */
  const asked = [];
  let server = await serve(join(folder, 'site'), { onRequest: (path) => asked.push(path) });
  t.after(() => server.close());
  const port = Number(new URL(server.url).port);
  const address = `${server.url}captions/`;
  const page = await context.newPage();

  await t.test('Chromium finds nothing that keeps it from being installed', async () => {
    await page.goto(address);
    await isReadyOffline(page);
    const session = await context.newCDPSession(page);
    const { installabilityErrors } = await session.send('Page.getInstallabilityErrors');
    assert.deepEqual(installabilityErrors, []);
  });

  await t.test('only one wasm build is downloaded', async () => {
    const builds = new Set(asked.filter((path) => path.endsWith('.wasm')));
    assert.equal(builds.size, 1, [...builds].join(' '));
  });

  await t.test('a caption without a server', async () => {
    await server.close();
    await context.setOffline(true);
    try {
      await page.reload();
      await upload(page, photo('cat'), photo('rocket'));
      const [cat, rocket] = await captions(page);
      assert.ok(cat && rocket && cat !== rocket);
      await shot(page, 'offline');
    } finally {
      await context.setOffline(false);
    }
  });

  await t.test('a new version is offered, and there after the reload', async () => {
    await publish(join(folder, 'site/captions'), 'newer');
    server = await serve(join(folder, 'site'), { port });
    await page.goto(address);
    await page.getByText('An update is available').waitFor({ timeout: PATIENCE });
    assert.equal(await page.locator('h1').textContent(), 'What does the photo show?', 'not before it is asked for');
    await shot(page, 'update');
    await page.getByRole('button', { name: 'Reload' }).click();
    await page.getByRole('heading', { name: 'newer' }).waitFor({ timeout: PATIENCE });
    assert.deepEqual(await storedVersions(page), ['newer'], 'the old version is gone');
  });
});

test('a first visit while the server dies says so, and can be tried again', async (t) => {
  const site = join(folder, 'broken');
  await cp(SITE, site, { recursive: true });
  await rm(join(site, 'pkg/model/model.safetensors'));
  const server = await serve(site);
  t.after(() => server.close());
  const page = await context.newPage();
  await page.goto(server.url);
  await upload(page, photo('cat'));
  await page.getByText('The model could not be loaded').waitFor({ timeout: PATIENCE });
  assert.match((await page.getByTestId('error').textContent()) ?? '', /could not be downloaded/);
  await shot(page, 'not-loaded');
  await cp(join(SITE, 'pkg/model/model.safetensors'), join(site, 'pkg/model/model.safetensors'));
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
  await page.getByRole('button', { name: 'Again', exact: true }).click();
  await page.locator('.card[data-state=done]').waitFor({ timeout: PATIENCE });
});
