/** What a worker can write in addition to any.ts. */
import type { LoadOptions, PhotoSource } from 'bitmar';

export const options: LoadOptions = { createWorker: () => new Worker('worker.js', { type: 'module' }) };
declare const bitmap: ImageBitmap;
export const photos: PhotoSource[] = [
  bitmap, new File([], 'cat.jpg'), new ImageData(1, 1), new OffscreenCanvas(1, 1), new VideoFrame(bitmap, { timestamp: 0 }),
];
