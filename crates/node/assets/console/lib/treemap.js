// Squarified treemap: rectangles of given areas that are as square as can be (Bruls et al., 2000).

/** @typedef {{ x: number, y: number, width: number, height: number }} Box */

/**
 * Boxes for the sizes, which are in falling order, that fill a box of this shape.
 * @param {number[]} sizes @param {number} width @param {number} height
 * @returns {Box[]}
 */
export function treemap(sizes, width, height) {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const areas = sizes.map((size) => (size / total) * width * height);
  /** @type {Box[]} */
  const boxes = [];
  let free = { x: 0, y: 0, width, height };
  let from = 0;
  while (from < areas.length) {
    const side = Math.min(free.width, free.height);
    let to = from + 1;
    while (to < areas.length && worst(areas, from, to + 1, side) <= worst(areas, from, to, side)) to += 1;
    free = placeRow(areas, from, to, free, boxes);
    from = to;
  }
  return boxes;
}

/** The worst ratio of sides in a row. @param {number[]} areas @param {number} from @param {number} to @param {number} side */
function worst(areas, from, to, side) {
  let [sum, least, most] = [0, Infinity, 0];
  for (let at = from; at < to; at += 1) {
    sum += areas[at];
    least = Math.min(least, areas[at]);
    most = Math.max(most, areas[at]);
  }
  const square = sum * sum;
  return Math.max((side * side * most) / square, square / (side * side * least));
}

/**
 * Lays a row along the shorter side; what is left.
 * @param {number[]} areas @param {number} from @param {number} to @param {Box} free @param {Box[]} boxes
 */
function placeRow(areas, from, to, free, boxes) {
  const sum = areas.slice(from, to).reduce((all, area) => all + area, 0);
  const upright = free.width >= free.height;
  const thick = sum / (upright ? free.height : free.width);
  let along = upright ? free.y : free.x;
  for (let at = from; at < to; at += 1) {
    const long = areas[at] / thick;
    boxes.push(upright
      ? { x: free.x, y: along, width: thick, height: long }
      : { x: along, y: free.y, width: long, height: thick });
    along += long;
  }
  return upright
    ? { ...free, x: free.x + thick, width: free.width - thick }
    : { ...free, y: free.y + thick, height: free.height - thick };
}
