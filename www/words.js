// @ts-check
/** A caption's words, each of which shows where the model looked for it. One tab stop; arrows go from word to word. */
import { drawHeatmap, brightThird } from './heatmap.js';
import { strings } from './strings.js';

/** @typedef {import('./pkg/index.js').Caption} Caption */

/** @param {HTMLElement} card @param {Caption} caption its text is on the card */
export function showWords(card, caption) {
  const { text, attention } = caption;
  const find = (/** @type {string} */ selector) => /** @type {any} */ (card.querySelector(selector));
  find('.gaze').hidden = true;
  const photo = find('.photo');
  if (!attention || photo.hidden) return;
  const paragraph = find('.caption');
  paragraph.replaceChildren();
  let end = 0;
  for (const word of attention.words) {
    const span = Object.assign(document.createElement('span'), { className: 'word', textContent: text.slice(word.start, word.end) });
    const seen = { width: attention.width, height: attention.height, map: word.map };
    span.tabIndex = end === 0 ? 0 : -1;
    const show = () => {
      drawHeatmap(find('.heatmap'), photo, seen);
      find('.legend').textContent = strings.looked(span.textContent, brightThird(seen));
      find('.gaze').hidden = false;
    };
    const hide = () => (find('.gaze').hidden = document.activeElement?.parentElement !== paragraph);
    span.addEventListener('focus', show);
    span.addEventListener('pointerenter', show);
    span.addEventListener('blur', hide);
    span.addEventListener('pointerleave', hide);
    paragraph.append(text.slice(end, word.start), span);
    end = word.end;
  }
  paragraph.append(text.slice(end));
  paragraph.onkeydown = walk;
}

/** @param {KeyboardEvent} event */
function walk(event) {
  const at = /** @type {HTMLElement} */ (event.target);
  const words = /** @type {HTMLElement[]} */ ([...(at.parentElement?.querySelectorAll('.word') ?? [])]);
  const place = words.indexOf(at);
  const forth = getComputedStyle(at).direction === 'rtl' ? 'ArrowLeft' : 'ArrowRight';
  const steps = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: -1, [forth]: 1, Home: -place, End: words.length });
  if (event.key === 'Escape') at.blur();
  if (place < 0 || !(event.key in steps)) return;
  event.preventDefault();
  const next = words[Math.max(0, Math.min(words.length - 1, place + steps[event.key]))];
  at.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
