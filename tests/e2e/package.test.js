// @ts-check
/** The npm package, packed, unpacked and used by a plain page, as a stranger would. */
import assert from 'node:assert/strict';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { installed, run } from './packed.js';
import { serve } from './server.js';
import { EXAMPLES, PATIENCE, launch, photo, photoBytes } from './support.js';

/** @type {Awaited<ReturnType<typeof installed>>} */ let its;
/** @type {Awaited<ReturnType<typeof serve>>} */ let server;
/** @type {import('playwright-core').Browser} */ let browser;
/** @type {import('playwright-core').Page} */ let page;

before(async () => {
  its = await installed();
  const { folder } = its;
  await cp(EXAMPLES, folder, { recursive: true });
  await writeFile(join(folder, 'blank.html'), '<!doctype html><title>blank</title>');
  server = await serve(folder);
  browser = await launch();
  page = await browser.newPage();
});
after(async () => {
  await browser?.close();
  await server?.close();
  await its?.remove();
});
beforeEach(async () => {
  // Each test has a page, so a worker and a memory, of its own.
  await page.goto(`${server.url}blank.html`);
  await page.evaluate(async () => {
    const { BitMar, BitMarError } = await import(/** @type {any} */ ('/node_modules/bitmar/index.js'));
    const url = (/** @type {number[]} */ bytes) => new Blob([new Uint8Array(bytes)]);
    const failure = (/** @type {Promise<any>} */ job) =>
      job.then(() => null, ({ name, code, message }) => ({ name, code, message }));
    Object.assign(window, { BitMar, BitMarError, toBlob: url, failure });
  });
});

/** What the page's code below finds on `window`. @type {any} */
const { BitMar, BitMarError, toBlob, failure } = /** @type {any} */ ({});

test('the package holds what it needs and nothing else, in less than 10 MB', () => {
  const others = its.files.filter((path) => !/^((client|engine|storage|loading)\/)?[a-z-]+\.js$/.test(path));
  assert.deepEqual(others.sort(), ['LICENSE', 'README.md',
    'bin/arguments.js', 'bin/bitmar.js', 'bin/caption.js', 'bin/commands.js', 'bin/failure.js', 'bin/input.js',
    'bin/lock.js', 'bin/memory-file.js', 'bin/model-files.js', 'bin/output.js', 'bin/usage.txt', 'index.d.ts', 'model/model.safetensors',
    'model/names.json', 'model/tokenizer.json', 'package.json', 'wasm/manifest.js', 'wasm/relaxed/bitmar_bg.wasm',
    'wasm/simd128/bitmar.js', 'wasm/simd128/bitmar_bg.wasm']);
  for (const path of ['index.js', 'worker.js']) assert.ok(its.files.includes(path), `${path} is packed`);
  assert.ok(its.size < 10e6, `${its.size} bytes`);
});

test('the types name every export, and the JavaScript fits them', async () => {
  const here = fileURLToPath(new URL('.', import.meta.url));
  for (const project of ['tsconfig.json', 'tsconfig.node.json']) {
    await run(process.execPath, ['node_modules/typescript/bin/tsc', '--project', project], { cwd: here }).catch(({ stdout }) => assert.fail(stdout));
  }
});

test('the example page captions a photo', async () => {
  await page.goto(server.url);
  await page.waitForFunction(() => document.querySelector('input')?.onchange, undefined, { timeout: PATIENCE });
  await page.locator('input').setInputFiles(photo('cat'));
  await page.waitForFunction(() => (document.querySelector('#caption')?.textContent?.length ?? 0) > 10);
});

test('it counts bytes up to the announced total', async () => {
  const events = await page.evaluate(async () => {
    /** @type {any[]} */ const events = [];
    (await BitMar.load({ onProgress: (/** @type {any} */ event) => events.push(event) })).close();
    return events;
  });
  const loading = events.filter(({ phase }) => phase === 'download');
  const { loaded, total } = loading.at(-1);
  assert.equal(loaded, total);
  assert.ok(loading.every((event) => event.total === total), 'the total is known from the start');
  assert.deepEqual(events.slice(-2).map(({ phase }) => phase), ['start', 'ready']);
});

test('every kind of photo source is taken', async () => {
  const kinds = await page.evaluate(async (bytes) => {
    const bitmar = await BitMar.load();
    const blob = toBlob(bytes);
    const image = new Image();
    image.src = URL.createObjectURL(blob);
    await image.decode();
    const bitmap = await createImageBitmap(blob);
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.drawImage(bitmap, 0, 0);
    const offscreen = new OffscreenCanvas(bitmap.width, bitmap.height);
    offscreen.getContext('2d')?.drawImage(bitmap, 0, 0);
    const sources = {
      Blob: blob,
      File: new File([blob], 'photo.jpg'),
      ArrayBuffer: new Uint8Array(bytes).buffer,
      Uint8Array: new Uint8Array(bytes),
      URL: new URL(image.src),
      string: image.src,
      ImageBitmap: bitmap,
      ImageData: context.getImageData(0, 0, canvas.width, canvas.height),
      HTMLImageElement: image,
      HTMLCanvasElement: canvas,
      OffscreenCanvas: offscreen,
      VideoFrame: new VideoFrame(canvas, { timestamp: 0 }),
    };
    /** @type {Record<string, string>} */ const texts = {};
    for (const [kind, source] of Object.entries(sources)) {
      texts[kind] = (await bitmar.caption(source, { remember: false })).text;
    }
    return texts;
  }, await photoBytes('cat'));
  assert.equal(new Set(Object.values(kinds)).size, 1, JSON.stringify(kinds, null, 1));
});

test('a caption has every field it promises', async () => {
  const caption = await page.evaluate(
    async (bytes) => (await BitMar.load()).caption(toBlob(bytes), { length: 'short', beams: 1 }),
    await photoBytes('coffee'),
  );
  const { id, text, tokens, confidence, recalled, timings } = caption;
  assert.ok(Number.isInteger(id) && text.length > 5 && Number.isInteger(tokens));
  assert.ok(confidence >= 0 && confidence <= 1 && Array.isArray(recalled));
  for (const part of ['decode', 'vision', 'memory', 'text', 'total']) {
    assert.equal(typeof timings[part], 'number', part);
  }
});

test('what is not a photo is refused with the code photo, and the next job goes on', async () => {
  const answers = await page.evaluate(async (bytes) => {
    const bitmar = await BitMar.load();
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>';
    const bad = {
      empty: new Blob([]),
      text: new Blob(['hello']),
      svg: new Blob([svg], { type: 'image/svg+xml' }),
      truncated: toBlob(bytes.slice(0, 40)),
      huge: new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52,
        0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20, 8, 2, 0, 0, 0]),
      wrong: 'nowhere.jpg',
      number: 7,
    };
    const jobs = Object.entries(bad).map(async ([name, photo]) => [name, await failure(bitmar.caption(photo))]);
    const good = bitmar.caption(toBlob(bytes));
    return { bad: Object.fromEntries(await Promise.all(jobs)), text: (await good).text };
  }, await photoBytes('cat'));
  for (const name of ['empty', 'text', 'svg', 'truncated', 'huge', 'number']) {
    assert.deepEqual([answers.bad[name].name, answers.bad[name].code], ['BitMarError', 'photo'], name);
  }
  assert.equal(answers.bad.wrong.code, 'network');
  assert.ok(answers.text);
});

test('an AbortSignal ends a download, a waiting job, and a caption', async () => {
  const ends = await page.evaluate(async (bytes) => {
    const early = new AbortController();
    const download = failure(BitMar.load({ signal: early.signal, onProgress: () => early.abort() }));
    const bitmar = await BitMar.load();
    const [running, waiting] = [new AbortController(), new AbortController()];
    let tokens = 0;
    const first = failure(
      bitmar.caption(toBlob(bytes), { signal: running.signal, onToken: () => ++tokens === 2 && running.abort() }),
    );
    const second = failure(bitmar.caption(toBlob(bytes), { signal: waiting.signal }));
    const third = bitmar.caption(toBlob(bytes));
    waiting.abort();
    const reason = failure(bitmar.caption(toBlob(bytes), { signal: AbortSignal.abort(new Error('mine')) }));
    return {
      names: [await download, await first, await second].map((end) => end?.name),
      reason: (await reason).message,
      third: (await third).text,
      tokens,
    };
  }, await photoBytes('cat'));
  assert.deepEqual(ends.names, ['AbortError', 'AbortError', 'AbortError']);
  assert.equal(ends.reason, 'mine');
  assert.ok(ends.third, 'the queue goes on');
  assert.equal(ends.tokens, 2, 'no token after the abort');
});

test('an urgent caption goes before those that wait, in the order in which they came', async () => {
  const order = await page.evaluate(async (bytes) => {
    const bitmar = await BitMar.load();
    /** @type {string[]} */ const order = [];
    const ask = (/** @type {string} */ name, urgent = false) =>
      bitmar.caption(toBlob(bytes), { urgent }).then(() => order.push(name));
    await Promise.all([ask('runs'), ask('waits'), ask('waits too'), ask('urgent', true), ask('urgent too', true)]);
    return order;
  }, await photoBytes('cat'));
  assert.deepEqual(order, ['runs', 'urgent', 'urgent too', 'waits', 'waits too']);
});

test('a stream yields growing texts and returns the caption; leaving it cancels', async () => {
  const { texts, last, next } = await page.evaluate(async (bytes) => {
    const bitmar = await BitMar.load();
    const texts = [];
    const stream = bitmar.captionStream(toBlob(bytes), { remember: false });
    let step = await stream.next();
    for (; !step.done; step = await stream.next()) texts.push(step.value);
    for await (const _ of bitmar.captionStream(toBlob(bytes))) break;
    return { texts, last: step.value.text, next: (await bitmar.caption(toBlob(bytes))).text };
  }, await photoBytes('rocket'));
  assert.ok(texts.length >= 2);
  assert.equal(last, next);
});

test('many photos: one that fails does not end the loop', async () => {
  const results = await page.evaluate(async (bytes) => {
    const bitmar = await BitMar.load();
    const results = [];
    for await (const { index, caption, error } of bitmar.captionMany([toBlob(bytes), new Blob(['x']), toBlob(bytes)])) {
      results.push([index, caption?.text, error?.code]);
    }
    return results;
  }, await photoBytes('cat'));
  assert.deepEqual(results.map(([index, , code]) => [index, code ?? null]), [[0, null], [1, 'photo'], [2, null]]);
  assert.ok(results[0][1]);
});

test('the memory is taught, listed, exported, imported, deleted and cleared', async () => {
  const memory = await page.evaluate(async (bytes) => {
    const bitmar = await BitMar.load();
    const caption = await bitmar.caption(toBlob(bytes));
    await bitmar.correct(caption, 'Chelsea the cat');
    const listed = await bitmar.memory.list();
    const snapshot = await bitmar.memory.export();
    await bitmar.memory.clear();
    const cleared = (await bitmar.memory.list()).length;
    await bitmar.memory.import(snapshot);
    const back = await bitmar.memory.list();
    await bitmar.memory.delete(back[0].slot);
    const deleted = (await bitmar.memory.list()).length;
    return {
      listed, back, cleared, deleted,
      bad: await failure(bitmar.memory.import(new Uint8Array([1, 2, 3]))),
      unknown: await failure(bitmar.correct(99999, 'nothing')),
    };
  }, await photoBytes('cat'));
  assert.equal(memory.listed[0].text, 'Chelsea the cat');
  assert.equal(memory.back[0].text, 'Chelsea the cat');
  assert.deepEqual([memory.cleared, memory.deleted], [0, 0]);
  assert.equal(memory.bad.code, 'snapshot');
  assert.equal(memory.unknown.code, 'memory');
});

test('a worker that dies fails its job alone, and the queue goes on', async () => {
  const result = await page.evaluate(async (bytes) => {
    /** @type {Worker[]} */ const workers = [];
    const createWorker = () => {
      workers.push(new Worker('/node_modules/bitmar/worker.js', { type: 'module' }));
      return /** @type {Worker} */ (workers.at(-1));
    };
    const bitmar = await BitMar.load({ createWorker });
    // As a worker reports a script error of its own.
    const crash = () => workers[0].dispatchEvent(new ErrorEvent('error', { message: 'it died' }));
    const first = failure(bitmar.caption(toBlob(bytes), { onToken: crash }));
    const second = bitmar.caption(toBlob(bytes));
    return { first: await first, second: (await second).text, workers: workers.length };
  }, await photoBytes('cat'));
  assert.deepEqual([result.first.code, result.first.message], ['internal', 'it died']);
  assert.ok(result.second);
  assert.equal(result.workers, 2);
});

test('without a worker, the page captions as with one, stays awake between tokens, and can abort', async () => {
  const result = await page.evaluate(async (bytes) => {
    const withWorker = await (await BitMar.load()).caption(toBlob(bytes), { remember: false });
    const { Worker: Real } = window;
    Object.assign(window, { Worker: class { constructor() { throw new Error('a worker was started'); } } });
    const bitmar = await BitMar.load({ worker: false });
    let turns = 0;
    let tokens = 0;
    const timer = setInterval(() => turns++);
    const here = await bitmar.caption(toBlob(bytes), { remember: false });
    clearInterval(timer);
    const stop = new AbortController();
    const onToken = () => ++tokens === 2 && setTimeout(() => stop.abort());
    const aborted = await failure(bitmar.caption(toBlob(bytes), { signal: stop.signal, onToken }));
    const next = await bitmar.caption(toBlob(bytes), { remember: false });
    bitmar.close();
    Object.assign(window, { Worker: Real });
    return { texts: [withWorker.text, here.text, next.text], turns, tokens, aborted };
  }, await photoBytes('cat'));
  assert.equal(new Set(result.texts).size, 1, JSON.stringify(result.texts));
  assert.ok(result.turns >= 2, `${result.turns} timers ran`);
  assert.equal(result.aborted.name, 'AbortError');
  assert.ok(result.tokens < 8, `${result.tokens} tokens`);
});

test('a caption and a correction in two captioners of one page share the stored memory without workers', async () => {
  const texts = await page.evaluate(async (bytes) => {
    const load = () => BitMar.load({ worker: false, memory: { name: 'shared here' } });
    const [one, two] = [await load(), await load()];
    await one.correct(await one.caption(toBlob(bytes)), 'Chelsea the cat');
    const seen = (await two.memory.list()).map(({ text }) => text);
    one.close();
    two.close();
    const three = await load();
    return [seen, (await three.memory.list()).map(({ text }) => text)];
  }, await photoBytes('cat'));
  assert.deepEqual(texts, [['Chelsea the cat'], ['Chelsea the cat']]);
});

test('after close, jobs fail with closed', async () => {
  const codes = await page.evaluate(async (bytes) => {
    const bitmar = await BitMar.load();
    const running = failure(bitmar.caption(toBlob(bytes)));
    const waiting = failure(bitmar.caption(toBlob(bytes)));
    bitmar.close();
    return [await running, await waiting, await failure(bitmar.caption(toBlob(bytes)))].map(({ code }) => code);
  }, await photoBytes('cat'));
  assert.deepEqual(codes, ['closed', 'closed', 'closed']);
});

test('the files can be injected as bytes, and damaged ones are refused', async () => {
  const { text, damaged, missing } = await page.evaluate(async (bytes) => {
    const file = async (/** @type {string} */ path) =>
      new Uint8Array(await (await fetch(`/node_modules/bitmar/${path}`)).arrayBuffer());
    const [wasm, model, tokenizer] = await Promise.all(
      [`wasm/${BitMar.build()}/bitmar_bg.wasm`, 'model/model.safetensors', 'model/tokenizer.json'].map(file),
    );
    const bitmar = await BitMar.load({ wasm, model, tokenizer });
    return {
      text: (await bitmar.caption(toBlob(bytes))).text,
      damaged: await failure(BitMar.load({ model: model.slice(0, 3) })),
      missing: await failure(BitMar.load({ tokenizer: '/nowhere.json' })),
    };
  }, await photoBytes('cat'));
  assert.ok(text);
  assert.equal(damaged.code, 'model');
  assert.equal(missing.code, 'network');
});

test('without WebAssembly SIMD it says unsupported before anything is downloaded', async () => {
  const context = await browser.newContext();
  await context.addInitScript(() => (WebAssembly.validate = () => false));
  const old = await context.newPage();
  /** @type {string[]} */ const asked = [];
  old.on('request', (request) => asked.push(request.url()));
  await old.goto(`${server.url}blank.html`);
  const answer = await old.evaluate(async () => {
    const { BitMar } = await import(/** @type {any} */ ('/node_modules/bitmar/index.js'));
    return [await BitMar.availability(), await BitMar.load().catch((/** @type {any} */ error) => error.code)];
  });
  assert.deepEqual(answer, ['unavailable', 'unsupported']);
  assert.deepEqual(asked.filter((url) => /\.wasm|\.safetensors/.test(url)), []);
  await context.close();
});
