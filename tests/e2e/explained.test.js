// @ts-check
/** Where the page cannot do what it is asked for, it says why: nothing waits for ever. */
import assert from 'node:assert/strict';
import { appendFile, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { PATIENCE, SITE, accessibilityFaults, captions, launch, photo, shot, site, upload } from './support.js';

const here = site();

for (const [name, url, javaScriptEnabled] of /** @type {const} */ ([
  ['opened from disk', () => `${pathToFileURL(SITE).href}/index.html`, true],
  ['with scripts off', () => here.url, false],
])) {
  test(`a page ${name} says that it cannot start`, async (t) => {
    // Reduced motion must not take the message away, which comes by an animation.
    const context = await here.browser.newContext({ javaScriptEnabled, reducedMotion: 'reduce' });
    t.after(() => context.close());
    const page = await context.newPage();
    await page.goto(url());
    await page.getByText('The page has not started').waitFor();
    await page.getByText('Loading…').waitFor({ state: 'hidden' });
    await shot(page, `not-started-${javaScriptEnabled}`);
  });
}

test('over plain http, the camera and a copy say that they need https, and captions work', async (t) => {
  const browser = await launch('--host-resolver-rules=MAP plain.example 127.0.0.1');
  t.after(() => browser.close());
  const page = await (await browser.newContext({ reducedMotion: 'reduce' })).newPage();
  await page.goto(here.url.replace('localhost', 'plain.example'));
  assert.ok(!(await page.evaluate(() => isSecureContext)));
  await upload(page, photo('cat'));
  assert.ok((await captions(page))[0].length > 10);
  await page.getByRole('button', { name: 'Copy alt text' }).click();
  await page.getByText('Browsers let a page copy only over https').waitFor();
  await page.getByRole('button', { name: 'Live camera' }).click();
  await page.getByRole('alert').getByText('only to pages opened over https').waitFor();
  assert.deepEqual(await accessibilityFaults(page), []);
});

test('with too little space to work offline, the page says so and works', async (t) => {
  const page = await (await here.browser.newContext()).newPage();
  t.after(() => page.context().close());
  const session = await page.context().newCDPSession(page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(here.url).origin, quotaSize: 1_000_000 });
  await page.goto(here.url);
  await page.getByText('Not stored for use offline').waitFor({ timeout: PATIENCE });
  await upload(page, photo('cat'));
  assert.ok((await captions(page))[0].length > 10);
});

test('a photo or a memory whose file has changed since it was chosen is said to have', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'bitmar-chosen-'));
  const page = await (await here.browser.newContext()).newPage();
  t.after(() => Promise.all([page.context().close(), rm(folder, { recursive: true })]));
  const [chosen, memory] = [join(folder, 'cat.jpg'), join(folder, 'memory.safetensors')];
  await copyFile(photo('cat'), chosen);
  await writeFile(memory, 'a memory');
  await page.goto(here.url);
  await upload(page, chosen);
  await captions(page);
  await appendFile(chosen, 'more');
  await page.getByRole('button', { name: 'Again', exact: true }).click();
  await page.getByTestId('error').getByText('The file has changed or is gone').waitFor({ timeout: PATIENCE });
  await page.getByRole('button', { name: 'Memory' }).click();
  const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.getByRole('button', { name: 'Import' }).click()]);
  await chooser.setFiles(memory);
  await page.getByText('Import “memory.safetensors”').waitFor();
  await rm(memory);
  await page.getByRole('button', { name: 'Replace these' }).click();
  await page.locator('#toast').getByText('The file has changed or is gone').waitFor();
});
