// @ts-check
/** The live camera: the newest frame's caption, and a camera that is let go of. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { filming, note, writeFilm } from './camera.js';
import { serve } from './server.js';
import { PATIENCE, POLICY, SITE, accessibilityFaults, captions, complaints, foreignRequests, launch, photo, shot, upload } from './support.js';

let folder = '';
/** @type {Awaited<ReturnType<typeof serve>>} */ let server;
/** Browsers by what their camera films. @type {Record<string, import('playwright-core').Browser>} */
const browsers = {};
/** @type {import('playwright-core').Page} */ let page;
/** @type {string[]} */ let foreign;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bitmar-camera-'));
  server = await serve(SITE, { headers: { 'Content-Security-Policy': POLICY, 'Permissions-Policy': 'camera=(self)' } });
  browsers.none = await launch('--use-fake-ui-for-media-stream');
  await writeFilm(browsers.none, join(folder, 'cat.mjpeg'), { names: ['cat'], frames: 2 });
  await writeFilm(browsers.none, join(folder, 'change.mjpeg'), { names: ['cat', 'rocket'], frames: 60 });
  browsers.cat = await launch(...filming(join(folder, 'cat.mjpeg')));
  browsers.change = await launch(...filming(join(folder, 'change.mjpeg')));
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  await page.context().close();
  assert.deepEqual(foreign, [], 'nothing leaves the origin');
});

/** @param {keyof typeof browsers} film @param {import('playwright-core').BrowserContextOptions} [options] */
async function visit(film, options) {
  const context = await browsers[film].newContext({ reducedMotion: 'reduce', ...options });
  await note(context);
  page = await context.newPage();
  foreign = foreignRequests(page);
  await page.goto(server.url);
  await page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
}

const openCamera = () => page.getByRole('button', { name: 'Live camera' }).click();
const panel = () => page.getByRole('dialog', { name: 'What the camera sees' });
/** Resolves when `count` more captions are done. */
async function seen(/** @type {number} */ count) {
  const before = await page.evaluate(() => /** @type {any} */ (window).noted.done);
  await page.waitForFunction((done) => /** @type {any} */ (window).noted.done >= done, before + count, { timeout: PATIENCE });
}
const shownCaption = async () => (await page.getByTestId('live-caption').textContent()) ?? '';
const trackStates = () => page.evaluate(() => /** @type {any} */ (window).noted.tracks.map((/** @type {any} */ track) => track.readyState));

/** What the page remembers, as its snapshot. */
const snapshot = () =>
  page.evaluate(async () => {
    const { BitMar } = await import(/** @type {any} */ ('/pkg/index.js'));
    const bitmar = await BitMar.load({ memory: { name: 'page' } });
    const bytes = await bitmar.memory.export();
    bitmar.close();
    return [...bytes].join(' ');
  });

test('captions follow the picture, frames are dropped and not queued, and a voice hears finished changes only', async () => {
  await visit('change');
  const heard = complaints(page);
  await openCamera();
  await page.waitForFunction(() => new Set(/** @type {any} */ (window).noted.heard).size >= 3, undefined, { timeout: PATIENCE });
  const noted = await page.evaluate(() => {
    const { heard, frames, done, mostAtOnce } = /** @type {any} */ (window).noted;
    const video = /** @type {HTMLVideoElement} */ (document.querySelector('#live video'));
    return { heard, frames: frames.length, done, mostAtOnce, shown: video.getVideoPlaybackQuality().totalVideoFrames };
  });
  assert.equal(noted.heard[0], 'Starting the camera…');
  const said = noted.heard.slice(1);
  for (const text of said) assert.ok(text.split(' ').length >= 3, `a whole caption: "${text}"`);
  said.forEach((/** @type {string} */ text, /** @type {number} */ at) => assert.notEqual(text, said[at - 1], 'only what changed'));
  assert.equal(noted.mostAtOnce, 1, 'no frame is taken before the caption of the last one is done');
  assert.ok(noted.shown > noted.frames, `${noted.shown} frames were shown, ${noted.frames} captioned`);
  assert.deepEqual(heard, [], 'the console stays quiet');
});

test('a kept frame is a photo with its caption, which is what the package says of that frame', async () => {
  await visit('cat');
  await openCamera();
  await seen(3);
  const said = await page.evaluate(() => /** @type {any} */ (window).noted.heard);
  assert.equal(said.length, 2, `a picture that stands still is heard once: ${said.join(' | ')}`);
  const text = await shownCaption();
  await page.getByRole('button', { name: 'Keep this one' }).click();
  await page.getByText('Kept as a photo on the page').waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  assert.ok(await panel().isHidden());
  assert.deepEqual(await captions(page), [text]);
  const byPackage = await page.evaluate(async () => {
    const { BitMar } = await import(/** @type {any} */ ('/pkg/index.js'));
    const bitmar = await BitMar.load();
    const caption = await bitmar.caption(/** @type {any} */ (window).noted.frames[0]);
    bitmar.close();
    return caption.text;
  });
  assert.equal(text, byPackage);
  const card = page.locator('.card[data-state=done]');
  const size = await card.locator('.photo').evaluate((/** @type {HTMLImageElement} */ image) => [image.naturalWidth, image.naturalHeight]);
  assert.deepEqual(size, [640, 480]);
  await shot(page, 'live-kept');
  await card.getByRole('button', { name: 'Correct' }).click();
  await page.getByLabel('What the photo shows').fill('Chelsea seen by the camera');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('stored in the memory').waitFor();
  await card.getByRole('button', { name: 'Again' }).click();
  await card.getByText('Remembered from your correction').waitFor({ timeout: PATIENCE });
});

test('the memory is read if the user wants it, and never written', async () => {
  await visit('cat');
  await upload(page, photo('cat'));
  await captions(page);
  await page.getByRole('button', { name: 'Correct' }).click();
  await page.getByLabel('What the photo shows').fill('Chelsea looks past the camera');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('stored in the memory').waitFor();
  const before = await snapshot();
  await openCamera();
  await seen(2);
  assert.equal(await shownCaption(), 'Chelsea looks past the camera');
  await page.getByLabel('Recall captions you corrected').uncheck();
  await seen(2);
  assert.notEqual(await shownCaption(), 'Chelsea looks past the camera');
  await page.getByLabel('Recall captions you corrected').check();
  await seen(2);
  assert.equal(await shownCaption(), 'Chelsea looks past the camera');
  await page.keyboard.press('Escape');
  assert.equal(await snapshot(), before, 'not even a recall is counted');
});

test('a frame does not wait behind the photos that do', async () => {
  await visit('cat');
  await upload(page, ...Array(120).fill(photo('rocket')));
  await page.getByText('of 120 photos').waitFor({ timeout: PATIENCE });
  await openCamera();
  await page.locator('#live-keep:enabled').waitFor({ timeout: PATIENCE });
  assert.ok((await page.locator('.card[data-state=working]').count()) > 0, 'photos are still waiting');
  await page.keyboard.press('Escape');
  const done = await page.locator('.card[data-state=done]').count();
  await page.waitForFunction((done) => document.querySelectorAll('.card[data-state=done]').length > done, done, { timeout: PATIENCE });
});

test('the camera is let go of when it is stopped, when the page is hidden, and when it is gone', async () => {
  await visit('cat');
  await openCamera();
  await seen(1);
  assert.deepEqual(await trackStates(), ['live']);
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => /** @type {any} */ (window).noted.tracks[0].readyState === 'ended');
  assert.ok(await panel().isHidden());

  await openCamera();
  await seen(1);
  // A window of headless Chromium is never out of sight: the page is told what it would see.
  await page.evaluate(() => {
    Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
    Object.defineProperty(document, 'visibilityState', { value: 'visible', configurable: true });
  });
  await page.getByText('The camera was turned off').waitFor();
  assert.ok(await panel().isHidden());
  assert.deepEqual(await trackStates(), ['ended', 'ended']);

  await openCamera();
  await seen(1);
  await page.evaluate(() => /** @type {any} */ (window).noted.tracks.at(-1).dispatchEvent(new Event('ended')));
  await page.getByText('The camera was disconnected').waitFor();
  assert.deepEqual(await trackStates(), ['ended', 'ended', 'ended']);
  assert.ok(await page.getByRole('button', { name: 'Close', exact: true }).evaluate((button) => button === document.activeElement));

  // A page that is left.
  await page.keyboard.press('Escape');
  await openCamera();
  await seen(1);
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pagehide')));
  assert.equal((await trackStates()).at(-1), 'ended');
});

test('a camera that is refused, lacking or in use is told in words', async (t) => {
  await t.test('none', async () => {
    await visit('none');
    await openCamera();
    await page.getByRole('alert').getByText('No camera was found').waitFor();
    assert.deepEqual(await accessibilityFaults(page), []);
    await shot(page, 'live-none');
    await page.context().close();
  });
  await t.test('refused by the policy of the page', async () => {
    const strict = await serve(SITE, { headers: { 'Permissions-Policy': 'camera=()' } });
    page = await browsers.cat.newPage();
    await page.goto(strict.url);
    await openCamera();
    await page.getByRole('alert').getByText('The camera is not allowed here').waitFor();
    await page.context().close();
    await strict.close();
  });
  await t.test('in use', async () => {
    await visit('cat');
    // No switch of Chromium's makes its camera fail; the error is what a camera held by another program gives.
    await page.evaluate(() => {
      MediaDevices.prototype.getUserMedia = () => Promise.reject(new DOMException('Could not start video source', 'NotReadableError'));
    });
    await openCamera();
    await page.getByRole('alert').getByText('another program may be using it').waitFor();
  });
});

test('where a page may not ask for a camera, none is offered', async () => {
  page = await browsers.cat.newPage();
  foreign = foreignRequests(page);
  await page.addInitScript(() => Object.defineProperty(Navigator.prototype, 'mediaDevices', { get: () => undefined }));
  await page.goto(server.url);
  await page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });
  assert.ok(await page.locator('#live-open').isHidden());
});

test('the panel is accessible and fits, light and dark, on a desktop and on phones', async () => {
  await visit('cat');
  await openCamera();
  await seen(1);
  for (const [name, width, height, colorScheme] of /** @type {const} */ ([
    ['light', 1180, 800, 'light'],
    ['dark', 1180, 800, 'dark'],
    ['phone', 390, 844, 'light'],
    ['narrow', 320, 640, 'dark'],
  ])) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    await shot(page, `live-${name}`);
    assert.deepEqual(await accessibilityFaults(page), [], name);
    const fits = await panel().evaluate((dialog) => {
      const { left, right, bottom } = dialog.getBoundingClientRect();
      return left >= 0 && right <= innerWidth && bottom <= innerHeight && dialog.scrollWidth <= dialog.clientWidth;
    });
    assert.ok(fits, `nothing sticks out: ${name}`);
  }
});
