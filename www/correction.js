// @ts-check
/** A caption in the user's words, and the way back. */
import { toast } from './dom.js';
import { offerUndo } from './memory.js';
import { strings } from './strings.js';

/**
 * @param {HTMLElement} card
 * @param {string} text
 * @param {() => Promise<void>} store puts it into the memory
 * @returns whether it was taken
 */
export async function takeCorrection(card, text, store) {
  const [caption, meta, recalled] = ['.caption', '.meta', '.recalled'].map((part) => /** @type {any} */ (card.querySelector(part)));
  // The model's words show where it looked: they come back as the elements they are.
  const before = [[...caption.childNodes], meta.textContent, recalled.hidden, card.dataset.when, card.dataset.author];
  const show = (/** @type {any[]} */ [words, ...said]) => {
    caption.replaceChildren(...words);
    [meta.textContent, recalled.hidden, card.dataset.when, card.dataset.author] = said;
  };
  try {
    await store();
  } catch {
    toast(strings.notCorrected);
    return false;
  }
  show([[text], strings.corrected, true, new Date().toISOString(), 'user']);
  offerUndo(strings.correctionTaken, () => show(before));
  return true;
}
