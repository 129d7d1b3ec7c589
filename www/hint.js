// @ts-check
/** What the user knows about one photo, for the next caption of it. */
import { clone } from './dom.js';

export class Hint {
  text = '';
  #host;
  #form;
  #field;

  /** @param {HTMLElement} host holds a `.caption` and a button `[data-do=hint]` @param {() => void} onHint */
  constructor(host, onHint) {
    this.#host = host;
    this.#form = clone('hint');
    this.#find('.caption').after(this.#form);
    this.#field = this.#form.querySelector('input');
    this.#form.addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      this.text = this.#field.value.trim();
      this.close();
      onHint();
    });
    this.#form.querySelector('[type=button]').addEventListener('click', () => this.close());
    this.#form.addEventListener('keydown', (/** @type {KeyboardEvent} */ { key }) => key === 'Escape' && this.close());
    this.#find('[data-do=hint]').addEventListener('click', () => this.open());
  }

  open() {
    this.#form.hidden = false;
    this.#field.value = this.text;
    this.#field.focus();
  }

  close() {
    if (this.#form.hidden) return;
    this.#form.hidden = true;
    this.#find('[data-do=hint]').focus();
  }

  /** @param {string} selector @returns {any} */
  #find(selector) {
    return this.#host.querySelector(selector);
  }
}
