// @ts-check
/** The page, as a person uses it. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { serve } from './server.js';
import {
  PATIENCE, POLICY, SITE, accessibilityFaults, cancelAll, captions, complaints, foreignRequests, launch, photo, photoBytes, photos,
  shot, upload,
} from './support.js';

/** @type {Awaited<ReturnType<typeof serve>>} */ let server;
/** @type {import('playwright-core').Browser} */ let browser;
/** @type {import('playwright-core').Page} */ let page;
/** @type {string[]} */ let foreign;
/** @type {string[]} */ let heard;

before(async () => {
  server = await serve(SITE, { headers: { 'Content-Security-Policy': POLICY } });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});
beforeEach(async () => {
  // A context of its own: no memory of another test's photos.
  const context = await browser.newContext({ viewport: { width: 1180, height: 800 }, colorScheme: 'light' });
  page = await context.newPage();
  foreign = foreignRequests(page);
  heard = complaints(page);
  await page.goto(server.url);
});
afterEach(async () => {
  await page.context().close();
  assert.deepEqual(foreign, [], 'nothing leaves the origin');
  assert.deepEqual(heard, [], 'the console stays quiet');
});

const isReady = () => page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
const textFile = async () => {
  const path = join(tmpdir(), 'bitmar-notes.txt');
  await writeFile(path, 'not a photo');
  return path;
};

test('two photos get two different captions', async () => {
  await upload(page, photo('cat'), photo('rocket'));
  const [cat, rocket] = await captions(page);
  assert.ok(cat.split(' ').length >= 3, `a caption: "${cat}"`);
  assert.ok(rocket.split(' ').length >= 3, `a caption: "${rocket}"`);
  assert.notEqual(cat, rocket);
});

test('the same photo gets the same caption from a fresh start', async () => {
  await upload(page, photo('coffee'));
  const first = await captions(page);
  const context = await browser.newContext();
  const again = await context.newPage();
  await again.goto(server.url);
  await upload(again, photo('coffee'));
  assert.deepEqual(await captions(again), first);
  await context.close();
});

test('a file that is no photo gets a message, and the others their captions', async () => {
  await upload(page, photo('cat'), await textFile(), photo('coffee'));
  const texts = await captions(page);
  assert.ok(texts[0] && texts[2], 'the photos around it have captions');
  const card = page.getByTestId('photo').nth(1);
  assert.match((await card.getByTestId('error').textContent()) ?? '', /not a photo/);
  assert.equal(await card.getByTestId('caption').getAttribute('aria-busy'), 'false');
  assert.equal(await page.locator('[data-testid=error]:visible').count(), 1);
  await shot(page, 'bad-file');
  assert.deepEqual(await accessibilityFaults(page), []);
});

test('the caption appears word by word', async () => {
  await isReady();
  await page.evaluate(() => {
    /** @type {any} */ (window).seen = new Set();
    new MutationObserver(() => {
      const text = document.querySelector('.has-text [data-testid=caption]')?.textContent;
      if (text) /** @type {any} */ (window).seen.add(text);
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  await upload(page, photo('astronaut'));
  await captions(page);
  assert.ok((await page.evaluate(() => /** @type {any} */ (window).seen.size)) >= 2);
});

test('photos come in by drop and by paste', async () => {
  const bytes = await photoBytes('cat');
  for (const kind of ['drop', 'paste']) {
    await page.evaluate(
      ({ bytes, kind }) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], `${kind}.jpg`, { type: 'image/jpeg' }));
        const event = kind === 'drop'
          ? new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true })
          : new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
      },
      { bytes, kind },
    );
  }
  const texts = await captions(page);
  assert.equal(texts.length, 2);
  assert.ok(texts.every(Boolean));
});

test('a caption can be cancelled and made again', async () => {
  await isReady();
  await upload(page, ...photos(80));
  await cancelAll(page);
  await captions(page);
  const cancelled = page.locator('.card[data-state=cancelled]');
  assert.ok((await cancelled.count()) >= 1, 'those that waited are cancelled');
  await shot(page, 'cancelled');
  const card = page.locator('.card').last();
  await card.getByRole('button', { name: 'Again' }).click();
  await page.locator('.card[data-state=done]').last().waitFor({ timeout: PATIENCE });
  assert.ok(await card.getByTestId('caption').textContent());
});

test('a corrected caption is in the memory, after a reload too', async () => {
  await upload(page, photo('cat'));
  await captions(page);
  await page.getByRole('button', { name: 'Correct' }).click();
  await page.getByLabel('What the photo shows').fill('Chelsea the cat looks past the camera');
  await shot(page, 'correcting');
  assert.deepEqual(await accessibilityFaults(page), []);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('stored in the memory').waitFor();
  assert.deepEqual(await captions(page), ['Chelsea the cat looks past the camera']);
  await page.reload();
  await upload(page, photo('cat'));
  await captions(page);
  await shot(page, 'remembered');
  const corrected = await page.evaluate(async () => {
    const { BitMar } = await import(/** @type {any} */ ('/pkg/index.js'));
    const bitmar = await BitMar.load({ memory: { name: 'page' } });
    const memory = await bitmar.memory.list();
    bitmar.close();
    return memory.filter((/** @type {any} */ slot) => slot.corrected).map((/** @type {any} */ { text }) => text);
  });
  assert.deepEqual(corrected, ['Chelsea the cat looks past the camera']);
});

test('a removed photo can be brought back', async () => {
  await upload(page, photo('cat'), photo('coffee'));
  const before = await captions(page);
  await page.getByRole('button', { name: 'Remove cat.jpg' }).click();
  assert.equal(await page.getByTestId('photo').count(), 1);
  await page.getByRole('button', { name: 'Undo' }).click();
  assert.deepEqual(await page.getByTestId('caption').allTextContents(), before);
});

test('the caption is copied as alt text', async () => {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await upload(page, photo('coffee'));
  const [text] = await captions(page);
  await page.getByRole('button', { name: 'Copy alt text' }).click();
  await page.getByText('Copied as alt text').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);
});

test('everything can be reached and used with the keyboard', async () => {
  await upload(page, photo('cat'));
  await captions(page);
  await page.locator('.brand').focus();
  const reached = new Set();
  for (let press = 0; press < 14; press++) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => {
      const { id, name, dataset } = /** @type {any} */ (document.activeElement);
      return dataset.do ?? (id || name);
    }));
  }
  for (const control of ['picker', 'live-open', 'length', 'remove', 'copy', 'edit', 'again']) {
    assert.ok(reached.has(control), `${control} is reached: ${[...reached]}`);
  }
});

for (const [name, width, height, colorScheme] of /** @type {const} */ ([
  ['desktop-light', 1180, 800, 'light'],
  ['desktop-dark', 1180, 800, 'dark'],
  ['phone-light', 390, 844, 'light'],
  ['phone-dark', 390, 844, 'dark'],
])) {
  test(`the page is accessible and fits: ${name}`, async () => {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await isReady();
    await shot(page, `${name}-empty`);
    assert.deepEqual(await accessibilityFaults(page), []);
    await upload(page, photo('cat'), photo('coffee'), photo('astronaut'), photo('rocket'));
    await captions(page);
    await shot(page, `${name}-captions`);
    assert.deepEqual(await accessibilityFaults(page), []);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, 'nothing sticks out sideways');
  });
}

test('right to left, nothing overlaps or sticks out', async () => {
  await page.evaluate(() => (document.documentElement.dir = 'rtl'));
  await upload(page, photo('cat'), photo('coffee'));
  await captions(page);
  await shot(page, 'right-to-left');
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0);
});
