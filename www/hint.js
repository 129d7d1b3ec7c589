// @ts-check
/** The field for what the user knows about a photo, which guides its next caption. */
import { clone } from './dom.js';

export class Hint {
  text = '';
  #host;
  #onHint;
  /** Exists only while open, like the editor's. @type {any} */ #form = null;

  /**
   * @param {HTMLElement} host holds a `.caption` and a button `[data-do=hint]`
   * @param {() => void} onHint
   */
  constructor(host, onHint) {
    this.#host = host;
    this.#onHint = onHint;
    this.#find('[data-do=hint]').addEventListener('click', () => this.open());
  }

  open() {
    this.#form = clone('hint');
    const field = this.#form.querySelector('input');
    this.#form.addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      this.text = field.value.trim();
      this.close();
      this.#onHint();
    });
    this.#form.querySelector('[type=button]').addEventListener('click', () => this.close());
    this.#form.addEventListener('keydown', (/** @type {KeyboardEvent} */ { key }) => {
      if (key === 'Escape') this.close();
    });
    this.#find('.caption').after(this.#form);
    field.value = this.text;
    field.focus();
  }

  close() {
    if (!this.#form) return;
    this.#form.remove();
    this.#form = null;
    this.#find('[data-do=hint]').focus();
  }

  /** @param {string} selector @returns {any} */
  #find(selector) {
    return this.#host.querySelector(selector);
  }
}
