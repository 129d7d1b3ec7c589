// @ts-check
/**
 * Makes the words of a caption show where the model looked for them. They are one tab stop; the
 * arrow keys move between words.
 */
import { drawHeatmap, brightThird } from './heatmap.js';
import { strings } from './strings.js';

/** @typedef {import('./pkg/index.js').Caption} Caption */

/** @param {HTMLElement} card @param {Caption} caption the one that the card shows */
export function showWords(card, caption) {
  const { text, attention } = caption;
  const find = (/** @type {string} */ part) => /** @type {any} */ (card.querySelector(part));
  find('.gaze').hidden = true;
  const photo = find('.photo');
  if (!attention || photo.hidden) return;
  const paragraph = find('.caption');
  paragraph.replaceChildren();
  let end = 0;
  for (const word of attention.words) {
    const span = document.createElement('span');
    Object.assign(span, { className: 'word', textContent: text.slice(word.start, word.end) });
    const weights = { width: attention.width, height: attention.height, map: word.map };
    span.tabIndex = end === 0 ? 0 : -1;
    const show = () => {
      drawHeatmap(find('.heatmap'), photo, weights);
      find('.legend').textContent = strings.looked(span.textContent, brightThird(weights));
      find('.gaze').hidden = false;
    };
    const hide = () => {
      find('.gaze').hidden = document.activeElement?.parentElement !== paragraph;
    };
    span.addEventListener('focus', show);
    span.addEventListener('pointerenter', show);
    span.addEventListener('blur', hide);
    span.addEventListener('pointerleave', hide);
    paragraph.append(text.slice(end, word.start), span);
    end = word.end;
  }
  paragraph.append(text.slice(end));
  paragraph.onkeydown = moveFocus;
}

/** @param {KeyboardEvent} event */
function moveFocus(event) {
  const at = /** @type {HTMLElement} */ (event.target);
  /** @type {NodeListOf<HTMLElement> | undefined} */
  const found = at.parentElement?.querySelectorAll('.word');
  const words = [...(found ?? [])];
  const index = words.indexOf(at);
  const forward = getComputedStyle(at).direction === 'rtl' ? 'ArrowLeft' : 'ArrowRight';
  /** @type {Record<string, number>} */
  const steps = { ArrowLeft: -1, ArrowRight: -1, [forward]: 1, Home: -index, End: words.length };
  if (event.key === 'Escape') at.blur();
  if (index < 0 || !(event.key in steps)) return;
  event.preventDefault();
  const next = words[Math.max(0, Math.min(words.length - 1, index + steps[event.key]))];
  at.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
