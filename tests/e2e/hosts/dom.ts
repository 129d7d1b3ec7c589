/** What a page can write in addition to any.ts. */
import type { LoadOptions, PhotoSource } from 'bitmar';

export const options: LoadOptions = {
  wasm: new WebAssembly.Module(new Uint8Array()),
  createWorker: () => new Worker('worker.js', { type: 'module' }),
};
declare const canvas: HTMLCanvasElement;
declare const bitmap: ImageBitmap;
export const photos: PhotoSource[] = [
  new Image(), document.createElement('video'), canvas, bitmap, new File([], 'cat.jpg'), new ImageData(1, 1),
  new OffscreenCanvas(1, 1), new VideoFrame(canvas, { timestamp: 0 }),
];
// @ts-expect-error: it shows no picture
export const wrong: PhotoSource = document.createElement('p');
