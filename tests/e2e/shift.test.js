// @ts-check
/** Nothing moves under a person's finger while the page loads. */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { serve } from './server.js';
import { PATIENCE, SITE, launch, shot } from './support.js';

/** @type {Awaited<ReturnType<typeof serve>>} */ let server;
/** What the second half of the model waits for. @type {Promise<void>} */ let mayArrive;
let arrive = () => {};
/** @type {import('playwright-core').Browser} */ let browser;
/** @type {import('playwright-core').Page} */ let page;

before(async () => {
  server = await serve(SITE, { onHalf: (path) => path.endsWith('/model.safetensors') && mayArrive });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});
afterEach(() => page.context().close());

const PHONE = { viewport: { width: 412, height: 823 }, isMobile: true, hasTouch: true };

/** @param {import('playwright-core').BrowserContextOptions} options */
async function open(options) {
  page = await (await browser.newContext(options)).newPage();
  mayArrive = new Promise((resolve) => (arrive = resolve));
}

/** Until half of the model is there. */
const isHalf = () =>
  page.waitForFunction(() => {
    const { value, max } = /** @type {any} */ (document.querySelector('#load-progress'));
    return value / max > 0.4 && /^Loading \d/.test(document.querySelector('#status-text')?.textContent ?? '');
  }, undefined, { timeout: PATIENCE });
const isReady = () => page.locator('#status[data-state=ready]').waitFor({ timeout: PATIENCE });

test('a whole first visit on a phone shifts nothing', async (t) => {
  await open(PHONE);
  await page.addInitScript(() => {
    const shifts = /** @type {any[]} */ ([]);
    Object.assign(window, { shifts });
    new PerformanceObserver((list) => {
      for (const { value, sources } of /** @type {any[]} */ (list.getEntries())) {
        const moved = sources.map((/** @type {any} */ { node, previousRect: { x, y }, currentRect }) =>
          `${node?.nodeName} ${node?.id || node?.className}: ${x}, ${y} to ${currentRect.x}, ${currentRect.y}`);
        shifts.push({ value, moved });
      }
    }).observe({ type: 'layout-shift', buffered: true });
  });
  await page.goto(server.url);
  await isHalf();
  await shot(page, 'first-visit-half');
  arrive();
  await isReady();
  await page.getByText('Ready to work offline').waitFor({ timeout: PATIENCE });
  await shot(page, 'first-visit-ready');
  const shifts = await page.evaluate(() => /** @type {any} */ (window).shifts);
  const sum = shifts.reduce((/** @type {number} */ total, /** @type {any} */ { value }) => total + value, 0);
  t.diagnostic(`layout shift ${sum}`);
  assert.ok(sum < 0.02, JSON.stringify(shifts, null, 1));
  // What is said to be seen is: a shift counts.
  const seen = await page.evaluate(async () => {
    /** @type {any} */ (document.querySelector('main')).style.marginTop = '200px';
    await new Promise((resolve) => setTimeout(resolve, 500));
    return /** @type {any} */ (window).shifts.at(-1)?.value ?? 0;
  });
  assert.ok(seen > 0.02, 'a shift would be seen');
});

for (const [width, text, dir] of /** @type {const} */ ([[320, 200, 'rtl'], [412, 100, 'ltr'], [1180, 100, 'ltr']])) {
  test(`the top keeps its height whatever it says: ${width} px, text of ${text} %, ${dir}`, async () => {
    /** Opens the page and looks at the top in each state that comes. @param {(look: (state: string) => Promise<void>) => Promise<void>} visit */
    const heights = async (visit) => {
      await open({ viewport: { width, height: 823 } });
      await page.addInitScript(({ text, dir }) => {
        const style = () => Object.assign(document.documentElement, { dir }).style.setProperty('font-size', `${text}%`);
        document.documentElement ? style() : addEventListener('DOMContentLoaded', style);
      }, { text, dir });
      await visit(async (state) => {
        await shot(page, `top-${width}-${text}-${dir}-${state}`);
        const { height, sticksOut } = await page.evaluate(() => ({
          height: document.querySelector('.top')?.getBoundingClientRect().height ?? 0,
          sticksOut: document.documentElement.scrollWidth > document.documentElement.clientWidth,
        }));
        assert.ok(!sticksOut, state);
        found[state] = height;
      });
      await page.context().close();
    };
    /** @type {Record<string, number>} */ const found = {};
    await heights(async (look) => {
      await page.goto(server.url);
      await isHalf();
      await look('half');
      arrive();
      await isReady();
      await look('ready');
      await page.evaluate(async () => {
        const { strings } = await import(/** @type {any} */ ('/strings.js'));
        const texts = { '#status-text': strings.migrating(512, 512), '#memory-count': strings.badge(512) };
        for (const [id, text] of Object.entries(texts)) Object.assign(document.querySelector(id) ?? {}, { textContent: text });
      });
      await look('adopting');
    });
    await heights(async (look) => {
      await page.context().route('**/tokenizer.json', (route) => route.abort());
      await page.goto(server.url);
      await page.getByRole('button', { name: 'Try again' }).waitFor({ timeout: PATIENCE });
      await look('failed');
    });
    await heights(async (look) => {
      await page.addInitScript(() => (WebAssembly.validate = () => false));
      await page.goto(server.url);
      await page.locator('#status[data-state=unsupported]').waitFor({ timeout: PATIENCE });
      await look('unsupported');
    });
    assert.equal(new Set(Object.values(found)).size, 1, JSON.stringify(found));
  });
}
