// @ts-check
/** The benchmarks in one Chromium, both builds. `node chromium.js PHOTO MEMORY [BUILD...]`; the files lie in the repository. */
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { serve } from '../../tests/e2e/server.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const [photo, memory, ...builds] = process.argv.slice(2);

/** A page that is isolated from others gets a clock of 5 microseconds instead of 100. */
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};
const server = await serve(root, { headers });
// There is no network, so Chromium must not look for its maker's servers.
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});
try {
  const page = await browser.newPage();
  page.on('console', (message) => message.type() === 'error' && console.error(message.text()));
  await page.exposeFunction('report', (/** @type {object} */ line) => console.log(JSON.stringify(line)));
  for (const build of builds.length ? builds : ['simd128', 'relaxed']) {
    // A fresh page each: the competitors' weights are large.
    await page.goto(`${server.url}benches/competitors/page.html`);
    await page.evaluate(
      async ([build, photo, memory]) => {
        const { run } = await import('./page.js');
        await run(build, photo, memory, globalThis.report);
      },
      [build, ...[photo, memory].map((path) => `/${relative(root, path)}`)],
    );
  }
} finally {
  await browser.close();
  await server.close();
}
