// @ts-check
/** Screenshots: apps, chats, web pages, code editors. `template` decides the layout. */
import { escaped, fontOf } from './page.js';
import { Words } from './words.js';

/** @typedef {import('./random.js').Random} Random */

/** @param {Random} template */
const theme = (template) =>
  template.pick([
    { back: '#fff', front: '#222', bar: '#eee', line: '#ddd' },
    { back: '#f5f6f8', front: '#1c1e21', bar: '#fff', line: '#d8dade' },
    { back: '#1e1e1e', front: '#d4d4d4', bar: '#333', line: '#444' },
    { back: '#0f1720', front: '#e2e8f0', bar: '#1b2733', line: '#2a3a4a' },
  ]);

/** @param {Random} template @param {Random} random */
function chat(template, random) {
  const [width, height] = template.pick([[390, 844], [360, 740], [412, 915]]);
  const [colors, words, own] = [theme(template), new Words(random), template.color([40, 80], [40, 60])];
  const messages = random.times(14, () => {
    const isOwn = random.chance(0.5);
    const style = isOwn ? `margin-left: auto; background: ${own}; color: #fff` : `background: ${colors.bar}`;
    return `<div style="max-width: 70%; width: fit-content; border-radius: 16px; padding: 8px 12px;
      margin: 6px 10px; ${style}">
      ${words.phrase(1, 14)}</div>`;
  });
  const html = `<div style="background: ${colors.bar}; padding: 16px; font-weight: bold">${words.name()}</div>
    ${messages.join('')}`;
  return { html, width, height, css: css(template, colors) };
}

/** @param {Random} template @param {ReturnType<theme>} colors */
const css = (template, { back, front }) =>
  `font: ${template.int(13, 16)}px/1.4 ${fontOf(template)}; background: ${back}; color: ${front};`;

/** @param {Random} template @param {Random} random */
function code(template, random) {
  const [width, height] = template.pick([[1280, 800], [1024, 768], [900, 900]]);
  const [colors, words] = [theme(template), new Words(random)];
  const inks = ['#c586c0', '#569cd6', '#ce9178', '#6a9955', 'inherit', 'inherit'];
  const paint = (/** @type {string} */ text) =>
    `<span style="color: ${random.pick(inks)}">${escaped(text)}</span>`;
  let depth = 0;
  const source = random.times(46, (index) => {
    const [a, b, c] = random.times(3, () => words.word().toLowerCase());
    const text = random.pick([
      `const ${a} = ${b}(${c});`, `if (${a} > ${random.int(0, 99)}) {`, '}', '', `return ${a}.${b};`,
      `// ${words.phrase(2, 7)}`, `for (const ${a} of ${b}) {`, `${a}.${b} = '${c}';`,
    ]);
    if (text === '}') depth = Math.max(0, depth - 1);
    const line = `<div><span style="color: #888; display: inline-block; width: 3em">${index + 1}</span>
      ${'&nbsp;'.repeat(2 * depth)}${text.split(' ').map(paint).join(' ')}</div>`;
    if (text.endsWith('{')) depth = Math.min(5, depth + 1);
    return line;
  });
  const files = random.times(12, () => `<div style="padding: 3px 12px">${words.word()}.js</div>`);
  const side = `width: ${template.int(140, 260)}px; background: ${colors.bar}`;
  const html = `<div style="display: flex; height: 100vh"><div style="${side}">
    ${files.join('')}</div><div style="font-family: 'DejaVu Sans Mono'; font-size: 13px; white-space: nowrap">
    ${source.join('')}</div></div>`;
  return { html, width, height, css: css(template, colors) };
}

/** @param {Random} template @param {Random} random */
function site(template, random) {
  const [width, height] = template.pick([[1280, 800], [1024, 768], [1366, 768]]);
  const [colors, words, accent] = [theme(template), new Words(random), template.color()];
  const menu = random.times(template.int(4, 7), () => `<span style="margin: 0 14px">${words.phrase(1, 2)}</span>`);
  const cards = random.times(template.int(3, 9), () =>
    `<div style="border: 1px solid ${colors.line}; border-radius: 6px; padding: 12px">
      <div style="height: ${template.int(40, 40)}px; background: ${random.color([20, 70], [40, 80])}"></div>
      <h4>${words.phrase(2, 4)}</h4>${words.paragraph(1)}<br><br><b style="background: ${accent}; color: #fff;
      padding: 4px 10px">${words.phrase(1, 2)}</b></div>`);
  const html = `<div style="background: ${accent}; color: #fff; padding: 14px">${menu.join('')}</div>
    <div style="padding: 24px"><h1>${words.phrase(2, 6)}</h1><p>${words.paragraph(2)}</p>
    <div style="display: grid; gap: 16px; grid-template-columns: repeat(${template.int(2, 4)}, 1fr)">
    ${cards.join('')}</div></div>`;
  return { html, width, height, css: css(template, colors) };
}

/** @param {Random} template @param {Random} random */
function app(template, random) {
  const [width, height] = template.pick([[390, 844], [360, 740], [820, 1180]]);
  const [colors, words, accent] = [theme(template), new Words(random), template.color()];
  const rows = random.times(12, () => `<div style="display: flex; gap: 12px; align-items: center; padding: 10px;
    border-bottom: 1px solid ${colors.line}"><div style="width: 36px; height: 36px; border-radius: 50%;
    background: ${random.color()}"></div><div style="flex: 1">${words.phrase(1, 4)}<br>
    <small style="opacity: 0.6">${words.phrase(2, 6)}</small></div>
    <small>${random.pick(['>', words.amount(99), '…'])}</small></div>`);
  const html = `<div style="background: ${colors.bar}; padding: 18px; font-size: 20px">${words.phrase(1, 2)}</div>
    ${rows.join('')}<div style="position: fixed; right: 20px; bottom: 20px; width: 56px; height: 56px;
    border-radius: 50%; background: ${accent}"></div>`;
  return { html, width, height, css: css(template, colors) };
}

/** @param {Random} template @param {Random} random */
export const screen = (template, random) =>
  template.pick([chat, code, site, app])(template, random);
