// @ts-check
/** Both wasm builds caption the test photos, from the same bytes, as the native command line does, and as surely to the last bit. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { serve } from './server.js';
import { PHOTOS, launch } from './support.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const file = async (/** @type {string} */ path) => new Uint8Array(await readFile(path));

/** @type {string[]} */ let photos;
/** @type {Record<string, [string, number]>} what the native build says and how sure it is, by file name */ let native;

before(async () => {
  photos = (await readdir(PHOTOS)).filter((name) => name.endsWith('.jpg')).map((name) => `${PHOTOS}/${name}`);
  // The build that `cargo test` made: one of its own would take CI five minutes.
  const lines = execFileSync(`${root}/target/debug/bitmar`, ['caption', '--json', '--no-write', ...photos], { cwd: root, encoding: 'utf8' });
  native = Object.fromEntries(lines.trim().split('\n').map((line) => {
    const { photo, caption, confidence } = JSON.parse(line);
    return [photo, [caption, Math.fround(confidence)]];
  }));
});

/** Captions photos, remembering none; runs in Node and, sent as text, in the browser. */
function captionAll(/** @type {any} */ glue, /** @type {any} */ model, /** @type {any} */ tokenizer, /** @type {Uint8Array[]} */ files) {
  const captioner = new glue.Captioner(model, tokenizer);
  return files.map((bytes) => {
    const generation = captioner.begin(bytes, { remember: false });
    while (generation.step());
    const { text, confidence } = captioner.finish(generation);
    return [text, confidence];
  });
}

test('simd128 in node', async () => {
  const glue = await import(`${root}/pkg/wasm/simd128/bitmar.js`);
  await glue.default({ module_or_path: await file(`${root}/pkg/wasm/simd128/bitmar_bg.wasm`) });
  const model = await file(`${root}/pkg/model/model.safetensors`);
  const tokenizer = await file(`${root}/pkg/model/tokenizer.json`);
  const captions = captionAll(glue, model, tokenizer, await Promise.all(photos.map(file)));
  assert.deepEqual(Object.fromEntries(photos.map((name, i) => [name, captions[i]])), native);
});

for (const build of ['simd128', 'relaxed']) {
  test(`${build} in Chromium`, async (t) => {
    const server = await serve(`${root}/www`);
    t.after(() => server.close());
    const browser = await launch();
    t.after(() => browser.close());
    const page = await browser.newPage();
    await page.goto(`${server.url}manifest.webmanifest`);
    const contents = await Promise.all(photos.map(async (name) => [...(await file(name))]));
    const captions = await page.evaluate(
      async ({ build, contents, captionAll }) => {
        const fetched = async (/** @type {string} */ path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
        const glue = await import(/** @type {any} */ ('/pkg/wasm/simd128/bitmar.js')); // for both
        await glue.default({ module_or_path: `/pkg/wasm/${build}/bitmar_bg.wasm` });
        const run = new Function(`return ${captionAll}`)();
        const [model, tokenizer] = await Promise.all(['/pkg/model/model.safetensors', '/pkg/model/tokenizer.json'].map(fetched));
        return run(glue, model, tokenizer, contents.map((bytes) => new Uint8Array(bytes)));
      },
      { build, contents, captionAll: String(captionAll) },
    );
    assert.deepEqual(Object.fromEntries(photos.map((name, i) => [name, captions[i]])), native);
  });
}
