// @ts-check
/** One photo on the page, with its caption and the actions on them. */
import { CardPhoto } from './card-photo.js';
import { takeCorrection } from './correction.js';
import { clone } from './dom.js';
import { Editor } from './editor.js';
import { toHtml } from './formats.js';
import { Hint } from './hint.js';
import { showRecalled } from './recalled.js';
import { copyText } from './save.js';
import { strings } from './strings.js';
import { showWords } from './words.js';

/**
 * @typedef {{ onAgain: (card: Card) => void, onRemove: (card: Card) => void,
 *   onCorrect: (card: Card, text: string) => Promise<void> }} Handlers
 */

export class Card {
  element;
  file;
  /** The latest caption. @type {import('./pkg/index.js').Caption | null} */ caption = null;
  /** Cancels the caption that is waiting or being generated. */
  abort = new AbortController();
  #handlers;
  #photo;
  #editor;
  #hint;

  /** @param {File} file @param {Handlers} handlers */
  constructor(file, handlers) {
    this.file = file;
    this.#handlers = handlers;
    this.element = clone('card');
    this.#photo = new CardPhoto(this.element, file);
    this.#find('[data-do=remove]').ariaLabel = strings.remove(file.name);
    for (const button of this.element.querySelectorAll('[data-do]')) {
      button.addEventListener('click', () => this.#act(button.dataset.do));
    }
    this.#editor = new Editor(this.element, (text) =>
      takeCorrection(this.element, text, () => handlers.onCorrect(this, text)),
    );
    this.#hint = new Hint(this.element, () => handlers.onAgain(this));
    this.showWaiting();
  }

  /** Whether a caption is waiting or being generated. */
  get isPending() {
    return ['waiting', 'working'].includes(this.element.dataset.state);
  }

  /** What the user knows about the photo; empty if there is no hint. */
  get hint() {
    return this.#hint.text;
  }

  /** The caption to save, if there is one. @returns {import('./formats.js').CaptionRecord[]} */
  get records() {
    const { state, when, author } = this.element.dataset;
    if (state !== 'done') return [];
    const corrected = author === 'user';
    const confidence = corrected ? null : Number(this.caption?.confidence.toFixed(3));
    return [{ file: this.file.name, caption: this.#text, confidence, corrected, when }];
  }

  get #text() {
    return this.#find('.caption').textContent;
  }

  showWaiting() {
    this.#show('waiting', { caption: strings.waiting, isBusy: true });
  }

  showWorking() {
    this.#show('working', { caption: strings.looking, isBusy: true });
  }

  /** @param {string} text the caption so far */
  showText(text) {
    this.element.classList.add('has-text');
    this.#find('.caption').textContent = text;
  }

  /** @param {import('./pkg/index.js').Caption} caption */
  showCaption(caption) {
    this.caption = caption;
    const meta = strings.captionMeta(caption, this.hint);
    Object.assign(this.element.dataset, { when: new Date().toISOString(), author: 'model' });
    this.#show('done', { caption: caption.text, meta });
    showRecalled(this.#find('.recalled'), caption);
    showWords(this.element, caption);
  }

  showCancelled() {
    this.#show('cancelled', { meta: strings.cancelled });
  }

  /** @param {any} error */
  showError(error) {
    this.#show('failed', { error: strings.error(error) });
    this.element.dataset.error = error.code;
  }

  /** Frees the photo; the card cannot be used again. */
  dispose() {
    this.#photo.dispose();
  }

  #find(/** @type {string} */ selector) {
    return /** @type {any} */ (this.element.querySelector(selector));
  }

  /**
   * @param {string} state
   * @param {{ caption?: string, meta?: string, error?: string, isBusy?: boolean }} content
   */
  #show(state, { caption = '', meta = '', error, isBusy = false }) {
    this.element.dataset.state = state;
    delete this.element.dataset.error;
    this.element.classList.remove('has-text');
    this.#find('.meta').textContent = meta;
    this.#editor.close();
    this.#hint.close();
    this.#find('.error').hidden = !error;
    this.#find('.error').textContent = error ?? '';
    showRecalled(this.#find('.recalled'));
    this.#find('.gaze').hidden = true;
    const paragraph = this.#find('.caption');
    paragraph.hidden = !caption;
    paragraph.textContent = caption;
    paragraph.ariaBusy = String(isBusy);
  }

  /** @param {string | undefined} action */
  #act(action) {
    if (action === 'copy') copyText(this.#text, strings.copied);
    if (action === 'copy-html') copyText(toHtml(this.file.name, this.#text), strings.copiedHtml);
    if (action === 'again') this.#handlers.onAgain(this);
    if (action === 'cancel') this.abort.abort();
    if (action === 'remove') this.#handlers.onRemove(this);
  }
}
