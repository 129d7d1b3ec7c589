/** What every host can write, with or without the DOM; only compiled, never run. */
import { BitMar, BitMarError } from 'bitmar';
import { BitMar as Inline } from 'bitmar/inline';
import type { Caption, LoadOptions, PhotoSource } from 'bitmar';

const options: LoadOptions = { baseUrl: new URL('https://example.org/bitmar'), model: new Uint8Array(), memory: { name: 'mine' } };

export async function use(photo: PhotoSource): Promise<Caption> {
  const bitmar: BitMar = await Inline.load({ ...options, signal: AbortSignal.timeout(1000), worker: false });
  const { memory } = bitmar;
  memory.addEventListener('change', async () => console.log((await memory.stats()).bytes));
  await memory.import(await memory.export(), { mode: 'merge' });
  // Only bytes that own their buffer make a Blob since TypeScript 5.9.
  const file = new Blob([await memory.export(), ...(await memory.list()).map(({ thumbnail }) => thumbnail)]);
  for (const source of [file, new ArrayBuffer(8), new Uint8Array(8), new DataView(new ArrayBuffer(8)), new URL('a:b'), 'cat.jpg']) {
    await bitmar.caption(source, { signal: new AbortController().signal });
  }
  return bitmar.caption(photo);
}

export async function mistakes(bitmar: BitMar): Promise<void> {
  // @ts-expect-error: not a photo
  await bitmar.caption({});
  // @ts-expect-error: not a photo
  await bitmar.caption(5);
  // @ts-expect-error: not a photo
  await bitmar.caption(null);
  // @ts-expect-error: no such option
  await bitmar.caption('cat.jpg', { size: 'long' });
  // @ts-expect-error: not a folder
  await BitMar.load({ baseUrl: 5 });
  // @ts-expect-error: not a signal
  await BitMar.load({ signal: {} });
  // @ts-expect-error: not a worker
  await BitMar.load({ createWorker: () => ({}) });
}

export const isNoPhoto = (error: unknown): boolean => error instanceof BitMarError && error.code === 'photo';
