// The arithmetic of the grid: how large tiles can be so that all of them are seen at once.

/**
 * @typedef {object} Fit
 * @property {number} columns
 * @property {number} width of one tile, in CSS pixels
 * @property {number} height of one tile, in CSS pixels
 */

/**
 * The bounds of a tile's shape, as width by height.
 *
 * @typedef {{ narrowest: number, widest: number }} Shapes
 */

/**
 * Finds the number of columns that shows the most of everyone. Tiles keep a shape between a lower and an
 * upper bound: on a tall screen they may be upright, on a wide one they are not cropped to a slit.
 *
 * @param {number} count tiles, at least 1
 * @param {number} width of the space, in CSS pixels
 * @param {number} height of the space, in CSS pixels
 * @param {number} gap between tiles, in CSS pixels
 * @param {Shapes} [shapes]
 * @returns {Fit}
 */
export function fitTiles(count, width, height, gap, shapes = shapesFor(width, height)) {
  /** @type {Fit} */
  let best = { columns: 1, width: 0, height: 0 };
  let bestScore = -1;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const size = fitShape((width - gap * (columns - 1)) / columns, (height - gap * (rows - 1)) / rows, shapes);
    const score = size.width * size.height * visiblePart(size.width / size.height);
    if (score > bestScore) {
      bestScore = score;
      best = { columns, width: Math.floor(size.width), height: Math.floor(size.height) };
    }
  }
  return best;
}

const WIDEST = 16 / 9;

/**
 * @param {number} width
 * @param {number} height
 * @returns {Shapes}
 */
function shapesFor(width, height) {
  return { narrowest: height > width ? 3 / 4 : 4 / 3, widest: WIDEST };
}

/**
 * @param {number} width
 * @param {number} height
 * @param {Shapes} shapes
 * @returns {{ width: number, height: number }} the largest allowed shape within
 */
function fitShape(width, height, { narrowest, widest }) {
  if (width <= 0 || height <= 0) return { width: 0, height: 0 };
  const shape = width / height;
  if (shape > widest) return { width: height * widest, height };
  if (shape < narrowest) return { width, height: width / narrowest };
  return { width, height };
}

/**
 * @param {number} shape width by height
 * @returns {number} how much of a wide picture is seen in a tile of this shape, softened
 */
function visiblePart(shape) {
  return Math.sqrt(Math.min(1, shape / WIDEST));
}
