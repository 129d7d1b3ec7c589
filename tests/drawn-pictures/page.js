// @ts-check
/** The parts that every drawn page is made of. */

/** @typedef {import('./random.js').Random} Random */
/** @typedef {{ html: string, width: number, height: number, css?: string }} Page in CSS pixels */

const FONTS = [
  'DejaVu Sans', 'DejaVu Serif', 'DejaVu Sans Mono', 'Liberation Sans', 'Liberation Serif',
  'Liberation Mono', 'Liberation Sans Narrow', 'C059', 'P052', 'Nimbus Sans', 'Nimbus Roman',
  'URW Bookman', 'URW Gothic', 'Noto Mono',
];

/** @param {Random} random */
export const fontOf = (random) => `'${random.pick(FONTS)}'`;

/** @param {string} text */
export const escaped = (text) => text.replace(/[&<>]/g, (found) => `&#${found.charCodeAt(0)};`);

/** @param {string[]} cells @param {string} [tag] */
export const row = (cells, tag = 'td') =>
  `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`;

/** @param {number} width @param {number} height @param {string} content */
export const svg = (width, height, content, attributes = '') =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"
    viewBox="0 0 ${width} ${height}" ${attributes}>${content}</svg>`;

/** A path through points. @param {number[][]} points @param {string} attributes */
export const line = (points, attributes) =>
  `<polyline points="${points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ')}"
    ${attributes}/>`;

/** A closed curve around a center. @param {Random} random @param {number[]} center @param {number} radius */
export function blob(random, [x, y], radius, corners = random.int(5, 9), roughness = 0.35) {
  const points = random.times(corners, (index) => {
    const angle = ((index + random.between(-0.3, 0.3)) / corners) * 2 * Math.PI;
    const reach = radius * random.between(1 - roughness, 1 + roughness);
    return [x + reach * Math.cos(angle), y + reach * Math.sin(angle)];
  });
  const middle = (/** @type {number[]} */ a, /** @type {number[]} */ b) =>
    `${((a[0] + b[0]) / 2).toFixed(1)} ${((a[1] + b[1]) / 2).toFixed(1)}`;
  const curves = points.map((point, index) => {
    const next = points[(index + 1) % corners];
    return `Q ${point[0].toFixed(1)} ${point[1].toFixed(1)} ${middle(point, next)}`;
  });
  return `M ${middle(points[corners - 1], points[0])} ${curves.join(' ')} Z`;
}
