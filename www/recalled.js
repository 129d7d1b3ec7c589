// @ts-check
/** Beside a caption, the remembered photo that it leaned on. */
import { thumbnailUrl } from './dom.js';
import { strings } from './strings.js';

/** @param {HTMLElement} note @param {import('./pkg/index.js').Caption} [caption] hides the note if it leaned on none */
export function showRecalled(note, caption) {
  const [memory] = caption?.recalled ?? [];
  note.hidden = !memory;
  if (!caption || !memory) return;
  const image = /** @type {HTMLImageElement} */ (note.querySelector('.thumbnail'));
  image.src = thumbnailUrl(memory.thumbnail);
  image.hidden = !image.src;
  image.onload = () => URL.revokeObjectURL(image.src);
  const text = /** @type {HTMLElement} */ (note.querySelector('p'));
  text.textContent = strings.recalled(caption, memory);
}
