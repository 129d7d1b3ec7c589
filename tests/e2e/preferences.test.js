// @ts-check
/** What a person has set: forced colors, reduced motion, a script that runs from right to left, a narrow window. */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { filming } from './camera.js';
import { serve } from './server.js';
import { PATIENCE, PHOTOS, SITE, accessibilityFaults, captions, launch, photo, shot, upload } from './support.js';

/** @type {Awaited<ReturnType<typeof serve>>} */ let server;
/** What the model's download waits for. @type {Promise<void>} */ let mayArrive;
/** @type {import('playwright-core').Browser} */ let browser;
/** @type {import('playwright-core').Page} */ let page;

before(async () => {
  server = await serve(SITE, { onRequest: (path) => path.endsWith('/model.safetensors') && mayArrive });
  browser = await launch(...filming());
});
after(async () => {
  await browser?.close();
  await server?.close();
});
afterEach(() => page.context().close());

/**
 * Takes a page through what it can show, and looks at each.
 * @param {string} name of the pictures
 * @param {import('playwright-core').BrowserContextOptions & { dir?: 'rtl' }} options
 * @param {(state: string) => Promise<void>} look
 */
async function walk(name, { dir, ...options }, look) {
  page = await (await browser.newContext(options)).newPage();
  let arrive = () => {};
  mayArrive = new Promise((resolve) => (arrive = resolve));
  const see = async (/** @type {string} */ state) => {
    await shot(page, `${name}-${state}`);
    await look(state);
  };
  await page.goto(server.url, { timeout: PATIENCE });
  if (dir) await page.evaluate((dir) => (document.documentElement.dir = dir), dir);
  await upload(page, photo('cat'));
  await see('loading');
  arrive();
  await captions(page);
  await upload(page, `${PHOTOS}/README.md`);
  await captions(page);
  await page.locator('.word').first().focus();
  await see('captions');
  const card = page.locator('.card').first();
  await card.getByRole('button', { name: 'Hint' }).click();
  await see('hint');
  await page.keyboard.press('Escape');
  await card.getByRole('button', { name: 'Correct' }).click();
  await card.getByLabel('What the photo shows').fill('Chelsea the cat');
  await see('correcting');
  await page.keyboard.press('Enter');
  await page.getByText('stored in the memory').waitFor();
  await see('toast');
  await page.getByRole('button', { name: 'Memory' }).click();
  await page.getByTestId('episode').waitFor();
  await see('memory');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Live camera' }).click();
  await page.locator('#live-keep:enabled').waitFor({ timeout: PATIENCE });
  await see('live');
}

test('forced colors: what can be pressed, read or lies above the page has an edge, and the focus is seen', async () => {
  const edged = 'button, .button, textarea, .edit input, .toast, .error, .card, .episode, .length, dialog';
  await walk('forced', { forcedColors: 'active', colorScheme: 'dark', viewport: { width: 900, height: 800 } }, async (state) => {
    const bare = await page.evaluate((edged) =>
      [...document.querySelectorAll(edged)].filter((element) => element.checkVisibility()).filter((element) => {
        const { borderInlineStartWidth, borderInlineStartStyle, borderInlineStartColor, backgroundColor } = getComputedStyle(element);
        return parseFloat(borderInlineStartWidth) === 0 || borderInlineStartStyle === 'none' || borderInlineStartColor === backgroundColor;
      }).map((element) => `${element.tagName} ${element.id || element.className}`), edged);
    assert.deepEqual(bare, [], state);
    const lost = [];
    for (let press = 0; press < 6; press++) {
      await page.keyboard.press('Tab');
      lost.push(...await page.evaluate(() => {
        const at = /** @type {HTMLElement} */ (document.activeElement);
        const marked = at.matches('[type=radio]') ? at.nextElementSibling : at.matches('[type=file]') ? at.previousElementSibling : at;
        const { outlineStyle, outlineWidth } = getComputedStyle(/** @type {Element} */ (marked));
        const isPage = at === document.body;
        return isPage || (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1) ? [] : [at.outerHTML.slice(0, 120)];
      }));
    }
    assert.deepEqual(lost, [], `the focus in ${state}`);
    if (state === 'loading') await barMoves();
    if (state === 'hint' || state === 'correcting') await page.locator('.edit :is(input, textarea)').focus();
  });
});

/** How much of a bar is filled is seen: its start has another color than its end. */
async function barMoves() {
  const bar = page.locator('#load-progress');
  await bar.evaluate((/** @type {HTMLProgressElement} */ bar) => Object.assign(bar, { max: 1, value: 0.5 }));
  const png = [...await bar.screenshot()];
  const [start, end] = await page.evaluate(async (png) => {
    const picture = await createImageBitmap(new Blob([new Uint8Array(png)]));
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(picture.width, picture.height).getContext('2d'));
    context.drawImage(picture, 0, 0);
    return [0.25, 0.75].map((at) => context.getImageData(picture.width * at, picture.height / 2, 1, 1).data.join(' '));
  }, png);
  assert.notEqual(start, end, 'how full the bar is');
}

test('reduced motion: nothing moves', async () => {
  await walk('still', { reducedMotion: 'reduce' }, async (state) => {
    const moving = await page.evaluate(() => {
      const styles = [...document.querySelectorAll('*')].flatMap((element) =>
        ['', '::before', '::after', '::backdrop'].map((pseudo) => ({ element, pseudo, style: getComputedStyle(element, pseudo) })));
      const seconds = (/** @type {string} */ list) => Math.max(...list.split(',').map((time) => parseFloat(time)));
      return styles.filter(({ style }) => (style.animationName !== 'none' && seconds(style.animationDuration) > 0.01) || seconds(style.transitionDuration) > 0.01)
        .map(({ element, pseudo }) => `${element.tagName} ${element.className}${pseudo}`);
    });
    assert.deepEqual(moving, [], state);
    assert.deepEqual(await page.evaluate(() => document.getAnimations().length), 0, state);
    assert.deepEqual(await accessibilityFaults(page), [], state);
  });
});

for (const [name, options] of /** @type {const} */ ([
  ['narrow', { viewport: { width: 320, height: 640 } }],
  ['narrow-rtl', { viewport: { width: 320, height: 640 }, dir: 'rtl' }],
  ['wide-rtl', { viewport: { width: 1180, height: 800 }, dir: 'rtl' }],
])) {
  test(`nothing sticks out sideways or is cut off: ${name}`, async () => {
    await walk(name, { ...options, reducedMotion: 'reduce' }, async (state) => {
      const out = await page.evaluate(() => {
        const isOut = (/** @type {Element} */ element) => {
          const { left, right, width } = element.getBoundingClientRect();
          const room = (element.closest('main') ?? document.documentElement).getBoundingClientRect();
          return width > 1 && element.checkVisibility() && (left < room.left - 0.5 || right > room.right + 0.5);
        };
        const scrolls = [document.documentElement, ...document.querySelectorAll('dialog[open]')].filter((box) => box.scrollWidth > box.clientWidth);
        return [...scrolls, ...[...document.querySelectorAll('body *')].filter(isOut)].map((element) => `${element.tagName} ${element.id || element.className}`);
      });
      assert.deepEqual(out, [], state);
    });
  });
}
