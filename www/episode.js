// @ts-check
/** One remembered photo in the memory panel. */
import { clone, thumbnailUrl, toast } from './dom.js';
import { Editor } from './editor.js';
import { strings } from './strings.js';

/**
 * @typedef {import('./pkg/index.js').Remembered} Remembered
 * @typedef {{ onCorrect: (entry: Remembered, text: string) => Promise<void>,
 *   onDelete: (entry: Remembered) => void }} Handlers
 */

export class EpisodeRow {
  element = clone('episode');
  #entry;
  #url;

  /** @param {Remembered} entry @param {Handlers} handlers */
  constructor(entry, { onCorrect, onDelete }) {
    this.#entry = entry;
    this.#url = thumbnailUrl(entry.thumbnail);
    const image = this.#find('.thumbnail');
    image.hidden = !this.#url;
    image.src = this.#url;
    this.element.dataset.slot = entry.slot;
    this.#find('.caption').textContent = entry.text;
    this.#find('[data-do=edit]').ariaLabel = strings.correctEntry(entry.text);
    this.#find('[data-do=delete]').ariaLabel = strings.deleteEntry(entry.text);
    this.#find('[data-do=delete]').addEventListener('click', () => onDelete(this.#entry));
    new Editor(this.element, async (text) => {
      try {
        await onCorrect(this.#entry, text);
        return true;
      } catch (error) {
        toast(strings.notCorrected(error));
        return false;
      }
    });
    this.update(entry);
  }

  /** @param {Remembered} entry the same photo and caption, possibly with more recalls */
  update(entry) {
    this.#entry = entry;
    this.#find('.meta').textContent = strings.entryMeta(entry);
  }

  remove() {
    this.element.remove();
    if (this.#url) URL.revokeObjectURL(this.#url);
  }

  /** @param {string} selector */
  #find(selector) {
    return this.element.querySelector(selector);
  }
}
