// @ts-check
/** Charts: bars, lines, pies, points. `template` decides axes and look, `random` the data. */
import { fontOf, line, svg } from './page.js';
import { Words } from './words.js';

/** @typedef {import('./random.js').Random} Random */

/** @typedef {{ left: number, top: number, width: number, height: number }} Frame */

/** @param {Random} random @param {number} count @returns {number[]} 0 to 1, one after the other near */
function walk(random, count) {
  let value = random.between(0.2, 0.8);
  const step = random.between(0.05, 0.25);
  return random.times(count, () => (value = Math.min(1, Math.max(0.02, value + random.between(-step, step)))));
}

/** @param {Frame} frame @param {Random} random @param {string[]} colors @param {Random} template */
function bars(frame, random, colors, template) {
  const [count, series] = [template.int(4, 12), template.pick([1, 1, 2, 3])];
  const isLying = template.chance(0.25);
  return random.times(count * series, (index) => {
    const [across, along] = isLying ? [frame.height, frame.width] : [frame.width, frame.height];
    const step = across / count;
    const at = Math.floor(index / series) * step + step * 0.1 + ((index % series) * step * 0.8) / series;
    const [size, value] = [(step * 0.75) / series, along * random.between(0.03, 0.98)];
    const fill = `fill="${colors[index % series]}"`;
    return isLying
      ? `<rect x="${frame.left}" y="${frame.top + at}" width="${value}" height="${size}" ${fill}/>`
      : `<rect x="${frame.left + at}" y="${frame.top + along - value}" width="${size}" height="${value}" ${fill}/>`;
  }).join('');
}

/** @param {Frame} frame @param {Random} random @param {string[]} colors @param {Random} template */
function lines({ left, top, width, height }, random, colors, template) {
  const [count, series] = [template.int(6, 40), template.int(1, 4)];
  return random.times(series, (index) => {
    const points = walk(random, count).map((value, at) =>
      [left + (at / (count - 1)) * width, top + height * (1 - value)]);
    return line(points, `fill="none" stroke="${colors[index]}" stroke-width="${template.int(2, 4)}"`);
  }).join('');
}

/** @param {Frame} frame @param {Random} random @param {string[]} colors @param {Random} template */
function points({ left, top, width, height }, random, colors, template) {
  const [count, slope] = [random.int(20, 150), random.between(-0.8, 0.8)];
  const radius = template.int(2, 6);
  return random.times(count, (index) => {
    const x = random.next();
    const y = Math.min(1, Math.max(0, 0.5 + slope * (x - 0.5) + random.between(-0.3, 0.3)));
    return `<circle cx="${left + x * width}" cy="${top + (1 - y) * height}" r="${radius}"
      fill="${colors[index % 2]}" fill-opacity="0.7"/>`;
  }).join('');
}

/** @param {Frame} frame @param {Random} random @param {string[]} colors */
function pie({ left, top, width, height }, random, colors) {
  const parts = random.times(random.int(3, 7), () => random.between(0.3, 3));
  const sum = parts.reduce((total, part) => total + part, 0);
  const [x, y, radius] = [left + width / 2, top + height / 2, Math.min(width, height) * 0.48];
  let angle = random.between(0, 6);
  return parts.map((part, index) => {
    const from = angle;
    angle += (part / sum) * 2 * Math.PI;
    const at = (/** @type {number} */ turn) => `${x + radius * Math.cos(turn)} ${y + radius * Math.sin(turn)}`;
    const isLarge = angle - from > Math.PI ? 1 : 0;
    return `<path d="M ${x} ${y} L ${at(from)} A ${radius} ${radius} 0 ${isLarge} 1 ${at(angle)} Z"
      fill="${colors[index]}" stroke="#fff" stroke-width="2"/>`;
  }).join('');
}

/** @param {Frame} frame @param {Random} template @param {Words} words */
function axes({ left, top, width, height }, template, words) {
  const [isGrid, ticks] = [template.chance(0.6), template.int(4, 6)];
  const marks = template.times(ticks, (index) => {
    const y = top + height - (index / (ticks - 1)) * height;
    const grid = isGrid ? `<line x1="${left}" x2="${left + width}" y1="${y}" y2="${y}" stroke="#ddd"/>` : '';
    return `${grid}<text x="${left - 6}" y="${y + 4}" text-anchor="end">${index * 20}</text>`;
  });
  const labels = template.times(ticks, (index) =>
    `<text x="${left + ((index + 0.5) / ticks) * width}" y="${top + height + 18}" text-anchor="middle">
      ${words.word().slice(0, 6)}</text>`);
  return `${marks.join('')}${labels.join('')}
    <path d="M ${left} ${top} V ${top + height} H ${left + width}" stroke="#333" fill="none"/>`;
}

/** @param {Random} template @param {Random} random */
export function chart(template, random) {
  const [width, height] = template.pick([[640, 480], [800, 450], [500, 500], [900, 600]]);
  const words = new Words(random);
  const frame = { left: 60, top: 60, width: width - 100, height: height - 120 };
  const colors = template.times(8, () => template.color([45, 90], [35, 65]));
  const draw = template.pick([bars, lines, points, pie]);
  const title = `<text x="${width / 2}" y="32" text-anchor="middle" font-size="20">${words.phrase(2, 6)}</text>`;
  const legend = template.chance(0.5) ? random.times(3, (index) =>
    `<rect x="${width - 130}" y="${44 + index * 18}" width="12" height="12" fill="${colors[index]}"/>
     <text x="${width - 112}" y="${55 + index * 18}">${words.word()}</text>`).join('') : '';
  const scale = draw === pie ? '' : axes(frame, template, new Words(template));
  const content = title + scale + draw(frame, random, colors, template) + legend;
  const style = `font-family="${fontOf(template).slice(1, -1)}" font-size="${template.int(11, 14)}"`;
  const background = template.pick(['#fff', '#fff', '#fff', '#fafafa', '#eaeaf2']);
  return { html: svg(width, height, content, style), width, height, css: `background: ${background};` };
}
