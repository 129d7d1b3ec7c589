// @ts-check
/** A camera that films photos: Chromium plays a file in its place. */
import { writeFile } from 'node:fs/promises';
import { photoBytes } from './support.js';

/** Chromium's switches for a camera that may be used without asking. Without a file it films a moving test picture. */
export const filming = (/** @type {string} */ file = '') => [
  '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', ...(file ? [`--use-file-for-fake-video-capture=${file}`] : []),
];

/**
 * Writes a film of photos, each for as many frames. Motion JPEG is one JPEG after another, all of one size; Chromium
 * plays 30 of them a second, over and over.
 * @param {import('playwright-core').Browser} browser scales the photos
 * @param {string} path
 * @param {{ names: string[], frames: number }} content
 */
export async function writeFilm(browser, path, { names, frames }) {
  const page = await browser.newPage();
  const pictures = [];
  for (const name of names) {
    const bytes = await page.evaluate(async (bytes) => {
      const picture = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
      const canvas = new OffscreenCanvas(640, 480);
      canvas.getContext('2d')?.drawImage(picture, 0, 0, 640, 480);
      const jpeg = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.9 });
      return [...new Uint8Array(await jpeg.arrayBuffer())];
    }, await photoBytes(name));
    pictures.push(...Array(frames).fill(Buffer.from(bytes)));
  }
  await page.close();
  await writeFile(path, Buffer.concat(pictures));
}

/**
 * Notes in the page, before it runs, what goes through the camera and the captioners: `window.noted`.
 * @param {import('playwright-core').BrowserContext} context
 */
export const note = (context) =>
  context.addInitScript(() => {
    const noted = { tracks: /** @type {MediaStreamTrack[]} */ ([]), frames: /** @type {ImageData[]} */ ([]), done: 0, mostAtOnce: 0, heard: /** @type {string[]} */ ([]) };
    Object.assign(window, { noted });
    const { getUserMedia } = MediaDevices.prototype;
    MediaDevices.prototype.getUserMedia = async function (constraints) {
      const stream = await getUserMedia.call(this, constraints);
      noted.tracks.push(...stream.getTracks());
      return stream;
    };
    const bitmap = window.createImageBitmap;
    Object.assign(window, {
      createImageBitmap: async (/** @type {any} */ source, /** @type {any[]} */ ...rest) => {
        const made = await bitmap(source, ...rest);
        if (!(source instanceof HTMLVideoElement)) return made;
        const context = new OffscreenCanvas(made.width, made.height).getContext('2d');
        context?.drawImage(made, 0, 0);
        noted.frames.push(/** @type {ImageData} */ (context?.getImageData(0, 0, made.width, made.height)));
        noted.mostAtOnce = Math.max(noted.mostAtOnce, noted.frames.length - noted.done);
        return made;
      },
      Worker: class extends Worker {
        constructor(/** @type {string | URL} */ url, /** @type {WorkerOptions} */ options) {
          super(url, options);
          this.addEventListener('message', ({ data }) => (noted.done += Number(data.value?.timings !== undefined)));
        }
      },
    });
    addEventListener('DOMContentLoaded', () => {
      const voice = /** @type {HTMLElement} */ (document.getElementById('live-said'));
      new MutationObserver(() => noted.heard.push(voice.textContent ?? '')).observe(voice, { childList: true });
    });
  });
