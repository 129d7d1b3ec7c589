// @ts-check
/** What the first visit downloads until the page works offline: it stays small. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PATIENCE, site } from './support.js';

const here = site();

test('a first visit transfers at most 8 MB, of which script and style 75 KB', async (t) => {
  const context = await here.browser.newContext();
  t.after(() => context.close());
  /** By path: what the page loads is asked for again by its service worker, and is then a revalidation. @type {Map<string, number>} */
  const sizes = new Map();
  /** @type {Promise<void>[]} */
  const counting = [];
  context.on('response', (response) => counting.push((async () => {
    if (response.fromServiceWorker()) return;
    const { pathname } = new URL(response.url());
    const bytes = Number((await response.allHeaders())['content-length'] ?? 0);
    sizes.set(pathname, Math.max(bytes, sizes.get(pathname) ?? 0));
  })()));
  const page = await context.newPage();
  await page.goto(here.url);
  await page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
  await page.getByText('Ready to work offline').waitFor({ timeout: PATIENCE });
  await Promise.all(counting);
  const sum = (/** @type {RegExp} */ wanted) =>
    [...sizes].reduce((total, [path, bytes]) => total + (wanted.test(path) ? bytes : 0), 0);
  t.diagnostic(`${sizes.size} files, ${sum(/./)} bytes, script and style ${sum(/\.(js|css)$/)}`);
  assert.ok(sizes.has('/pkg/model/model.safetensors') && sizes.has('/sw.js'), [...sizes.keys()].join(' '));
  assert.ok(sum(/./) <= 8e6, `${sum(/./)} bytes`);
  assert.ok(sum(/\.(js|css)$/) <= 75e3, `${sum(/\.(js|css)$/)} bytes of script and style`);
});
