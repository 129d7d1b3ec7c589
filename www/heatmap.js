// @ts-check
/** Shows where the model looked for a word, by darkening the rest of the photo. */

/** Cells with at least this fraction of the largest weight are not darkened. */
const PEAK = 0.9;

/**
 * Darkens a photo where the model did not look. The model sees the whole photo squashed to a
 * square, so the map is stretched over all of it.
 * @param {HTMLCanvasElement} canvas covers the photo exactly
 * @param {HTMLImageElement} photo
 * @param {{ width: number, height: number, map: ArrayLike<number> }} attention weights row by row
 */
export function drawHeatmap(canvas, photo, { width, height, map }) {
  const strongest = Math.max(...Array.from(map));
  const cells = new ImageData(width, height);
  for (let cell = 0; cell < width * height; cell++) {
    const share = Math.min(1, map[cell] / (PEAK * strongest));
    cells.data.set([12, 22, 26, Math.round(215 * (1 - share))], 4 * cell);
  }
  const small = new OffscreenCanvas(width, height);
  small.getContext('2d')?.putImageData(cells, 0, 0);
  const scale = 480 / Math.max(photo.naturalWidth, photo.naturalHeight);
  canvas.width = Math.round(photo.naturalWidth * scale);
  canvas.height = Math.round(photo.naturalHeight * scale);
  const context = canvas.getContext('2d');
  if (!context) return;
  Object.assign(context, { imageSmoothingEnabled: true, imageSmoothingQuality: 'high' });
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

/**
 * The third of the photo that holds the center of the bright cells: 0 to 2 from the left and from
 * the top.
 * @param {{ width: number, height: number, map: ArrayLike<number> }} attention
 */
export function brightThird({ width, height, map }) {
  const shares = Array.from(map);
  const strongest = Math.max(...shares);
  const bright = shares.flatMap((share, cell) => (share >= strongest / 2 ? [{ share, cell }] : []));
  const sum = bright.reduce((total, { share }) => total + share, 0);
  const middle = (/** @type {(cell: number) => number} */ place) =>
    bright.reduce((total, { share, cell }) => total + share * (place(cell) + 0.5), 0) / sum;
  const column = Math.floor((3 * middle((cell) => cell % width)) / width);
  const row = Math.floor((3 * middle((cell) => Math.floor(cell / width))) / height);
  return { column, row };
}
