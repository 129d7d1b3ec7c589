// @ts-check
/** Saves all captions to one file. */
import { byId } from './dom.js';
import { toCsv, toJson } from './formats.js';
import { saveFile } from './save.js';
import { strings } from './strings.js';

/** @param {() => import('./formats.js').CaptionRecord[]} records */
export function offerDownloads(records) {
  const { captionsName } = strings;
  byId('save-csv').onclick = () => saveFile(toCsv(records()), captionsName('csv'), 'text/csv');
  byId('save-json').onclick = () =>
    saveFile(toJson(records()), captionsName('json'), 'application/json');
}

/** @param {boolean} hasCaptions */
export function enableDownloads(hasCaptions) {
  for (const id of ['save-csv', 'save-json']) byId(id).disabled = !hasCaptions;
}
