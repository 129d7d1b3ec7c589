// @ts-check
/** Shows the remembered photo that influenced a caption. */
import { thumbnailUrl } from './dom.js';
import { strings } from './strings.js';

/**
 * Hides the note if nothing was recalled.
 * @param {HTMLElement} note
 * @param {import('./pkg/index.js').Caption} [caption]
 */
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
