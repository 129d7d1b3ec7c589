// @ts-check
/** Formats captions for other programs, as HTML, CSV and JSON. */

/**
 * @typedef {{ file: string, caption: string, confidence: number | null, corrected: boolean,
 *   when: string }} CaptionRecord `confidence` is null for the user's own words; `when` is ISO 8601
 */

/** @type {(keyof CaptionRecord)[]} */
const COLUMNS = ['file', 'caption', 'confidence', 'corrected', 'when'];

/** @type {Record<string, string>} */
const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

const escaped = (/** @type {string} */ text) => text.replace(/[&<>"]/g, (mark) => ENTITIES[mark]);

/** A file name as a relative URL: characters that would end the path or a scheme are encoded. */
const relativeUrl = (/** @type {string} */ name) =>
  name.replace(/[%?#:\\/\s]/g, encodeURIComponent);

/** An image element with the caption as alt text. @param {string} file @param {string} caption */
export const toHtml = (file, caption) =>
  `<img src="${escaped(relativeUrl(file))}" alt="${escaped(caption)}">`;

/**
 * CSV as in RFC 4180. The byte order mark makes spreadsheets read it as UTF-8.
 * @param {CaptionRecord[]} records
 */
export const toCsv = (records) =>
  `\ufeff${[COLUMNS, ...records.map((record) => COLUMNS.map((column) => record[column]))]
    .map((row) => `${row.map(cell).join(',')}\r\n`)
    .join('')}`;

/** @param {string | number | boolean | null} value */
function cell(value) {
  const text = String(value ?? '');
  // Spreadsheets evaluate text that begins like this as a formula; an apostrophe prevents that.
  const safe = /^[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** @param {CaptionRecord[]} records */
export const toJson = (records) => `${JSON.stringify(records, null, 2)}\n`;
