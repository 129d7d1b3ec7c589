// @ts-check
/** Maps, line drawings, and logos or icons. `template` decides the style, `random` the shapes. */
import { blob, fontOf, line, svg } from './page.js';
import { Words } from './words.js';

/** @typedef {import('./random.js').Random} Random */

/** @param {Random} template @param {Random} random */
export function map(template, random) {
  const [width, height] = template.pick([[800, 600], [600, 800], [700, 700]]);
  const anywhere = () => [random.between(0, width), random.between(0, height)];
  const words = new Words(random);
  const land = template.pick(['#f2efe9', '#fff', '#e8eddb', '#fcf5e4']);
  const parks = random.times(random.int(2, 8), () =>
    `<path d="${blob(random, anywhere(), random.between(30, 140))}" fill="#c8e6b9"/>`);
  const lakes = random.times(random.int(1, 4), () =>
    `<path d="${blob(random, anywhere(), random.between(40, 180))}" fill="#a9d3df"/>`);
  const wander = (/** @type {number} */ count) => {
    const [start, end] = random.chance(0.5)
      ? [[0, random.between(0, height)], [width, random.between(0, height)]]
      : [[random.between(0, width), 0], [random.between(0, width), height]];
    return random.times(count, (index) => {
      const part = index / (count - 1);
      return [0, 1].map((axis) => start[axis] + part * (end[axis] - start[axis]) + random.between(-40, 40));
    });
  };
  const small = random.times(random.int(20, 50), () =>
    line(wander(random.int(2, 5)), 'fill="none" stroke="#fff" stroke-width="5"') +
    line(wander(2), 'fill="none" stroke="#ccc" stroke-width="1"'));
  const main = random.times(random.int(3, 7), () =>
    line(wander(random.int(3, 7)),
      `fill="none" stroke="${random.pick(['#f7c15f', '#e892a2', '#fcd6a4'])}" stroke-width="9"`));
  const names = random.times(random.int(8, 20), () => {
    const [x, y] = anywhere();
    const size = random.pick([11, 13, 13, 18]);
    return `<text x="${x}" y="${y}" font-size="${size}" fill="#444">${words.phrase(1, 2)}</text>`;
  });
  const content = [...parks, ...lakes, ...small, ...main, ...names].join('');
  const style = `font-family="${fontOf(template).slice(1, -1)}"`;
  return { html: svg(width, height, content, style), width, height, css: `background: ${land};` };
}

/** Figures of a line drawing, each in a square of side 100. @type {((random: Random) => string)[]} */
const FIGURES = [
  (random) => `<path d="${blob(random, [50, 50], random.between(20, 45))}"/>`,
  (random) => { // A house.
    const [top, side] = [random.between(30, 50), random.between(10, 25)];
    return `<path d="M ${side} 95 V ${top} L 50 ${random.between(3, 20)} L ${100 - side} ${top} V 95 Z
      M ${random.between(35, 45)} 95 V 70 H 58 V 95 M 65 55 H 78 V 68 H 65 Z"/>`;
  },
  (random) => `<path d="${blob(random, [50, 32], 28)}"/><path d="M 46 60 V 97 M 54 60 V 97"/>`, // A tree.
  (random) => { // A face.
    const eyes = random.between(10, 18);
    return `<circle cx="50" cy="50" r="${random.between(32, 45)}"/><circle cx="${50 - eyes}" cy="42" r="4"/>
      <circle cx="${50 + eyes}" cy="42" r="4"/><path d="M 35 65 Q 50 ${random.between(55, 85)} 65 65"/>`;
  },
  (random) => { // A star or polygon.
    const [corners, inner] = [random.int(4, 9), random.between(0.3, 0.9)];
    const points = random.times(2 * corners, (index) => {
      const [angle, reach] = [(index * Math.PI) / corners, index % 2 ? 45 * inner : 45];
      return `${50 + reach * Math.cos(angle)},${50 + reach * Math.sin(angle)}`;
    });
    return `<polygon points="${points.join(' ')}"/>`;
  },
  (random) => `<rect x="15" width="70" y="${random.int(20, 40)}" height="${random.int(20, 50)}"
      rx="${random.int(0, 15)}"/>
    <circle cx="30" cy="85" r="${random.int(6, 12)}"/><circle cx="70" cy="85" r="${random.int(6, 12)}"/>`, // A cart.
  (random) => { // Scribbles.
    const points = random.times(random.int(5, 14), () => `${random.int(3, 97)} ${random.int(3, 97)}`);
    return `<path d="M ${points[0]} T ${points.slice(1).join(' T ')}"/>`;
  },
];

/** @param {Random} template @param {Random} random */
export function drawing(template, random) {
  const [width, height] = template.pick([[600, 600], [800, 600], [500, 700]]);
  const figures = random.times(random.int(2, 7), () => {
    const scale = random.between(1, 3.5);
    const place = `translate(${random.between(0, width - 100 * scale)} ${random.between(0, height - 100 * scale)})
      scale(${scale}) rotate(${random.pick([0, 0, random.between(-20, 20)])} 50 50)`;
    const thickness = (template.int(2, 4) / scale).toFixed(2);
    const color = template.pick(['#000', '#000', '#224']);
    return `<g transform="${place}" fill="none" stroke="${color}" stroke-width="${thickness}">
      ${random.pick(FIGURES)(random)}</g>`;
  });
  const horizon = [[0, height * 0.85], [width, height * 0.85]];
  const ground = random.chance(0.4) ? line(horizon, 'stroke="#000" stroke-width="3"') : '';
  const html = svg(width, height, figures.join('') + ground);
  return { html, width, height, css: 'background: #fff;' };
}

/** A logo or icon. @param {Random} template @param {Random} random */
export function logo(template, random) {
  const side = template.pick([256, 400, 512]);
  const colors = random.times(3, () => random.color([50, 95], [25, 65]));
  const figure = () => {
    const y = side * random.between(0.05, 0.2);
    const transform = `translate(${side * 0.15} ${y}) scale(${side * random.between(0.004, 0.007)})`;
    const [fill, stroke] = [random.pick(colors), random.pick(['none', '#000', '#fff'])];
    return `<g transform="${transform}" fill="${fill}" stroke="${stroke}" stroke-width="3">
      ${random.pick(FIGURES)(random)}</g>`;
  };
  const back = random.pick([
    '', `<circle cx="${side / 2}" cy="${side / 2}" r="${side * 0.46}" fill="${colors[0]}"/>`,
    `<rect x="${side * 0.05}" y="${side * 0.05}" width="${side * 0.9}" height="${side * 0.9}"
      rx="${side * 0.2}" fill="${colors[0]}"/>`,
  ]);
  const words = new Words(random);
  const name = random.chance(0.5) ? `<text x="50%" y="92%" text-anchor="middle" font-weight="bold"
    fill="${colors[1]}" font-size="${side / 8}" font-family="${fontOf(random).slice(1, -1)}">
    ${words.phrase(1, 1)}</text>` : '';
  const content = back + random.times(random.int(1, 3), figure).join('') + name;
  const background = template.pick(['#fff', '#fff', '#fff', '#000', '#f0f0f0']);
  return { html: svg(side, side, content), width: side, height: side, css: `background: ${background};` };
}
