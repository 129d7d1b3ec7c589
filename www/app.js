// @ts-check
/** The page: turns photos into cards with captions. */
import { receive } from './arrivals.js';
import { Card } from './card.js';
import { byId, inTurns, toast } from './dom.js';
import { enableDownloads, offerDownloads } from './downloads.js';
import { listenForPhotos } from './intake.js';
import { offerLive } from './live.js';
import { askToPersist, showMemory } from './memory.js';
import { load, ready } from './model.js';
import { keepOffline } from './offline.js';
import { strings } from './strings.js';

/** How long a removed photo is kept, in milliseconds; longer than its undo is offered. */
const KEPT = 20_000;

/** @type {Card[]} */
let cards = [];

/** @returns {any} 'short', 'medium' or 'long' */
const chosenLength = () =>
  /** @type {HTMLInputElement} */ (document.querySelector('[name=length]:checked')).value;

function showCount() {
  const pending = cards.filter((card) => card.isPending).length;
  byId('tools').hidden = cards.length === 0;
  const count = strings.count(cards.length - pending, cards.length);
  byId('count').textContent = cards.length > 1 ? count : '';
  byId('cancel-all').hidden = pending < 2;
  enableDownloads(cards.some((card) => card.records.length > 0));
  document.body.classList.toggle('has-photos', cards.length > 0);
}

/** @param {Card} card */
async function caption(card) {
  card.abort = new AbortController();
  card.showWaiting();
  showCount();
  const { signal } = card.abort;
  /** @type {Promise<never>} */
  const cancelled = new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    const captioner = await Promise.race([ready(), cancelled]);
    card.showWorking();
    const onToken = (/** @type {string} */ text) => card.showText(text);
    // The memory learns from corrections only, because the model's own guesses would echo in later
    // captions. Attention costs 8 to 9 % of a caption's time (processor time in Node, 60 captions
    // with and 60 without, alternating); without it, pointing at a word would have to wait.
    const fixed = { attention: true, remember: false };
    const options = { ...fixed, length: chosenLength(), hint: card.hint, signal, onToken };
    card.showCaption(await captioner.caption(card.file, options));
  } catch (error) {
    signal.aborted ? card.showCancelled() : card.showError(error);
  }
  showCount();
}

/** @param {Card} card @param {string} text */
async function correct(card, text) {
  const captioner = await ready();
  try {
    await captioner.correct(card.caption ?? card.file, text);
  } catch (/** @type {any} */ error) {
    // The captioner has forgotten older captions, and those made before a crash: send the photo.
    if (error.code !== 'memory') throw error;
    await captioner.correct(card.file, text);
  }
  askToPersist().catch(console.warn);
}

/** @param {Card} card */
function remove(card) {
  card.abort.abort();
  const { element } = card;
  const [place, next] = [cards.indexOf(card), element.nextElementSibling];
  cards = cards.filter((other) => other !== card);
  (next ?? byId('picker')).querySelector?.('.remove')?.focus();
  element.remove();
  showCount();
  const undo = () => {
    cards.splice(place, 0, card);
    byId('photos').insertBefore(element, next?.isConnected ? next : null);
    showCount();
  };
  toast(strings.removed, { label: strings.undo, run: undo });
  setTimeout(() => element.isConnected || card.dispose(), KEPT);
}

/** @param {File} file */
function place(file) {
  const card = new Card(file, { onAgain: caption, onCorrect: correct, onRemove: remove });
  cards.push(card);
  byId('photos').append(card.element);
  return card;
}

/**
 * Adds a camera frame as a card.
 * @param {File} file
 * @param {import('./pkg/index.js').Caption} caption
 */
function keep(file, caption) {
  place(file).showCaption(caption);
  showCount();
}

/** @param {File[]} files */
const add = (files) => inTurns(files, (file) => void caption(place(file)));

listenForPhotos({ pickers: [byId('picker'), byId('camera')], highlight: byId('drop') }, add);
offerDownloads(() => cards.flatMap((card) => card.records));
byId('cancel-all').addEventListener('click', () => {
  // In reverse, so that no waiting caption starts in between.
  inTurns(cards.filter((card) => card.isPending).reverse(), (card) => card.abort.abort());
});
load((captioner) => {
  showMemory(captioner);
  offerLive({ captioner, length: chosenLength, onKeep: keep });
  keepOffline();
});
receive(add, { memory: () => ready().then(() => byId('memory-open').click()) });
