/** Runs under vitest and under jest, both with jsdom: jsdom.test.js. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { BitMar } from 'bitmar';

const { PHOTO, CAPTION } = process.env;
let server;

beforeAll(async () => {
  const bytes = await readFile(PHOTO);
  server = createServer((_, response) => response.end(bytes)).listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
});
afterAll(() => server.close());

test('jsdom is there, and the package captions as in Node', async () => {
  expect(document.body.nodeName).toBe('BODY');
  expect(await BitMar.availability()).toBe('available');
  const bitmar = await BitMar.load();
  const bytes = new Uint8Array(await readFile(PHOTO));
  const photos = [pathToFileURL(PHOTO).href, bytes, new File([bytes], 'cat.jpg'), `http://127.0.0.1:${server.address().port}/`];
  const texts = [];
  for (const photo of photos) texts.push((await bitmar.caption(photo, { remember: false })).text);
  bitmar.close();
  expect(texts).toEqual(Array(4).fill(CAPTION));
}, 60_000);
