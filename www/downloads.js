// @ts-check
/** All captions in one file. */
import { byId } from './dom.js';
import { toCsv, toJson } from './formats.js';
import { saveFile } from './save.js';
import { strings } from './strings.js';

/** @param {() => import('./formats.js').CaptionRecord[]} records */
export function offerDownloads(records) {
  byId('save-csv').onclick = () => saveFile(toCsv(records()), strings.captionsName('csv'), 'text/csv');
  byId('save-json').onclick = () => saveFile(toJson(records()), strings.captionsName('json'), 'application/json');
}

/** @param {boolean} hasCaptions whether there is something to save */
export function enableDownloads(hasCaptions) {
  for (const id of ['save-csv', 'save-json']) byId(id).disabled = !hasCaptions;
}
