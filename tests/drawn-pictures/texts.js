// @ts-check
/** Pages of text and tables. `template` decides layout and font, `random` the contents. */
import { fontOf, row } from './page.js';
import { LANGUAGES, Words } from './words.js';

/** @typedef {import('./random.js').Random} Random */

/** Paper in CSS pixels. @param {Random} template */
const sheet = (template) => template.pick([[794, 1123], [816, 1056], [620, 877], [700, 700]]);

/** @param {Random} template */
const look = (template) => `font: ${template.int(11, 20)}px/${template.pick([1.2, 1.4, 1.6])} ${fontOf(template)};
  padding: ${template.int(20, 90)}px; background: ${template.pick(['#fff', '#fff', '#fff', '#fdfaf2', '#f4f4f4'])};
  color: ${template.pick(['#000', '#111', '#223', '#333'])};`;

/** @param {Random} template @param {Random} random */
function letter(template, random) {
  const [width, height] = sheet(template);
  const words = new Words(random, template.pick(LANGUAGES));
  const heading = template.chance(0.5);
  const align = template.pick(['left', 'right', 'justify']);
  const paragraphs = random.times(template.int(2, 6), () => words.paragraph(random.int(2, 5)));
  const html = `<div style="text-align: ${align === 'right' ? 'right' : 'left'}">${words.name()}<br>
    ${words.phrase(1, 2)} ${random.int(1, 200)}<br>${words.date()}</div>
    ${heading ? `<h2>${words.phrase(2, 5)}</h2>` : '<br>'}
    ${paragraphs.map((text) => `<p style="text-align: ${align}">${text}</p>`).join('')}
    <p>${words.phrase(2, 4)}<br>${words.name()}</p>`;
  return { html, width, height, css: `${look(template)} direction: ${words.direction};` };
}

/** @param {Random} template @param {Random} random */
function invoice(template, random) {
  const [width, height] = sheet(template);
  const words = new Words(random, template.pick(['en', 'de', 'ru']));
  const color = template.color();
  const title = template.pick(['Invoice', 'INVOICE', 'Rechnung', 'Receipt', 'Statement']);
  const company = new Words(template).phrase(1, 3);
  const border = template.pick(['none', '1px solid #999', '1px dotted #555']);
  const head = ['#', 'Item', 'Qty', 'Price', 'Total'];
  const items = random.times(random.int(4, 9), (index) =>
    row([`${index + 1}`, words.phrase(1, 4), `${random.int(1, 20)}`, words.amount(300), words.amount(3000)]));
  const html = `<h1 style="color: ${color}">${company}</h1><hr>
    <table style="width: 100%"><tr><td>${words.name()}<br>${words.phrase(1, 2)} ${random.int(1, 99)}<br>
    ${random.int(10000, 99999)} ${words.phrase(1, 1)}</td><td style="text-align: right">
    <b>${title} ${random.int(1000, 99999)}</b><br>${words.date()}</td></tr></table><br>
    <table class="items">${row(head, 'th')}${items.join('')}</table>
    <p style="text-align: right"><b>Total ${words.amount(9000)}</b></p>
    <p>${words.sentence()} ${words.sentence()}</p>`;
  const css = `${look(template)} } .items { width: 100%; border-collapse: collapse; }
    .items td, .items th { border-bottom: ${border}; text-align: left; padding: 4px; }
    .items th { background: ${template.chance(0.5) ? color : '#eee'}; `;
  return { html, width, height, css };
}

/** @param {Random} template @param {Random} random */
function article(template, random) {
  const [width, height] = sheet(template);
  const words = new Words(random, template.pick(LANGUAGES));
  const columns = template.int(1, 3);
  const parts = random.times(12, () =>
    (random.chance(0.2) ? `<h3>${words.phrase(2, 5)}</h3>` : `<p>${words.paragraph(random.int(3, 7))}</p>`));
  const html = `<h1>${words.phrase(3, 8)}</h1><i>${words.name()}, ${words.date()}</i>
    <div style="columns: ${columns}; column-gap: 24px; text-align: justify">${parts.join('')}</div>`;
  return { html, width, height, css: `${look(template)} direction: ${words.direction};` };
}

/** @param {Random} template @param {Random} random */
function list(template, random) {
  const [width, height] = template.pick([[500, 800], [700, 700], [400, 520]]);
  const words = new Words(random, template.pick(LANGUAGES));
  const tag = template.pick(['ul', 'ol']);
  const items = random.times(random.int(8, 18), () => `<li>${words.phrase(1, 6)}</li>`);
  const html = `<h2>${words.phrase(1, 3)}</h2><${tag}>${items.join('')}</${tag}>`;
  return { html, width, height, css: `${look(template)} direction: ${words.direction};` };
}

/** @param {Random} template @param {Random} random */
export const text = (template, random) =>
  template.pick([letter, invoice, article, list])(template, random);

/** @param {Random} template @param {Random} random */
export function table(template, random) {
  const [width, height] = template.pick([[900, 600], [700, 700], [800, 1100], [500, 400]]);
  const words = new Words(random, template.pick(['en', 'de', 'ru', 'el', 'zh']));
  const head = new Words(template);
  const [columns, color] = [template.int(3, 8), template.color([20, 80], [40, 90])];
  const isText = template.times(columns, (index) => index === 0 || template.chance(0.25));
  const cell = (/** @type {number} */ column) =>
    (isText[column] ? words.phrase(1, 2) : random.pick([words.amount(900), `${random.int(0, 999)}`, '–']));
  const rows = random.times(template.int(8, 24), () => row(random.times(columns, cell)));
  const title = template.chance(0.5) ? `<h3>${words.phrase(2, 6)}</h3>` : '';
  const html = `${title}<table class="grid">
    ${row(template.times(columns, () => head.phrase(1, 1)), 'th')}${rows.join('')}</table>`;
  const css = `font: ${template.int(11, 17)}px ${fontOf(template)}; background: #fff;
    padding: ${template.int(8, 40)}px; }
    .grid { border-collapse: collapse; width: ${template.pick(['100%', 'auto'])}; }
    .grid th { background: ${color}; }
    .grid tr:nth-child(even) { background: ${template.pick(['#fff', '#f2f2f2', '#eef4ff'])}; }
    .grid td, .grid th { padding: ${template.int(2, 7)}px 8px;
    border: ${template.pick(['none', '1px solid #ccc', '1px solid #444'])};
    text-align: ${template.pick(['left', 'right', 'center'])}; `;
  return { html, width, height, css };
}
