/** Uses every export of the package as its types describe it; only compiled, never run. */
import { BitMar, BitMarError } from '../../pkg/index.js';
import type { Attention, Caption, CaptionOptions, LoadOptions, Notice, PhotoSource, Progress, Recalled } from '../../pkg/index.js';

const options: LoadOptions = {
  baseUrl: new URL('https://example.org/bitmar/'),
  wasm: new Uint8Array(),
  model: '/model.safetensors',
  tokenizer: '/tokenizer.json',
  memory: { name: 'mine' },
  signal: new AbortController().signal,
  onProgress: (progress: Progress) => progress.phase === 'download' && progress.loaded / progress.total,
  onNotice: ({ code, message }: Notice) => console.log(code, message),
  worker: true,
  createWorker: () => new Worker('worker.js', { type: 'module' }),
};

export async function use(photo: PhotoSource, canvas: HTMLCanvasElement): Promise<void> {
  const state: 'available' | 'downloadable' | 'unavailable' = await BitMar.availability();
  const isCleared: boolean = await BitMar.clearCache();
  const build: 'relaxed' | 'simd128' | null = BitMar.build();
  const bitmar: BitMar = await BitMar.load(options);
  const ask: CaptionOptions = { length: 'long', hint: 'my dog Rex', beams: 3, attention: true, urgent: true, onToken: (text: string) => text };
  const caption: Caption = await bitmar.caption(photo, ask);
  const recalled: Recalled[] = caption.recalled;
  const looks: Attention | undefined = caption.attention;
  for (const { start, end, map } of looks?.words ?? []) console.log(caption.text.slice(start, end), map.length === looks!.width * looks!.height);
  const seconds: number = caption.timings.total / 1000;
  for await (const text of bitmar.captionStream(canvas, ask)) text.toUpperCase();
  for await (const result of bitmar.captionMany([canvas, new Blob()])) {
    if (result.caption) console.log(result.index, result.caption.text, result.photo);
    else console.log(result.error);
  }
  await bitmar.correct(caption, 'Rex asleep');
  await bitmar.correct(caption.id, 'Rex asleep');
  await bitmar.correct(photo, 'Rex asleep');
  const { memory } = bitmar;
  memory.addEventListener('change', async () => console.log((await memory.stats()).bytes));
  await memory.import(await memory.export(), { mode: 'merge' });
  for (const entry of await memory.list()) {
    await memory.correct(entry, `${entry.text}, ${entry.recalls}`);
    await memory.delete(entry);
    await memory.delete(entry.slot);
  }
  await memory.clear();
  const isUndone: boolean = await memory.undo();
  for (const name of await memory.listAside()) {
    const left: number = await memory.import(await memory.exportAside(name));
    if (left === 0) await memory.deleteAside(name);
  }
  console.log(state, isCleared, build, recalled, seconds, isUndone, caption.slot, bitmar.info);
  bitmar.close();
}

export const isNoPhoto = (error: unknown): boolean => error instanceof BitMarError && error.code === 'photo';

// @ts-expect-error: no such length
const wrong: CaptionOptions = { length: 'endless' };
// @ts-expect-error: made by load only
export const made = [new BitMar(), wrong];
