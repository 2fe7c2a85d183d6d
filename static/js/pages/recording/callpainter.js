// Draws the call as it is seen: everyone in a grid, or a shared screen large with the people beside it. The pictures
// are those of the tiles on the page, so nothing is decoded twice.

import { fitTiles } from '../layout.js';
import { initialsOf } from '../names.js';
import { conditionWords } from '../people.js';
import { contain, cover, seen } from '../recorder/drawing.js';

/** @typedef {import('../people.js').Person} Person */
/** @typedef {import('../tile.js').Tile} Tile */
/** @typedef {import('../tiles.js').Tiles} Tiles */
/** @typedef {import('../recorder/drawing.js').Box} Box */

const GAP = 10;
const RADIUS = 12;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, sans-serif';
const GROUND = '#0d1310';
const TILE = '#1a231f';
const SCREEN = '#060907';
const CHIP = 'rgb(9 15 12 / 74%)';
const SPEAKING = '#2fbf7c';
const MIC_OFF = new Path2D('M9 9.5V11a3 3 0 0 0 4.6 2.5M15 10.5V6a3 3 0 0 0-5.6-1.5M5.5 11.5a6.5 6.5 0 0 0 10.4 5.2M18.5 11.5a6.5 6.5 0 0 1-.5 2.5M12 18v3M4 4l16 16');
/** The part of the width that a shared screen has, as on the page. */
const STAGE_PART = 0.78;

/**
 * Draws everyone once.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Person[]} people
 * @param {Tiles} tiles
 */
export function paintCall(context, people, tiles) {
  const { width, height } = context.canvas;
  context.fillStyle = GROUND;
  context.fillRect(0, 0, width, height);
  const sharing = people.filter((person) => person.screenOn && person.screen !== null);
  const inner = { x: GAP, y: GAP, width: width - 2 * GAP, height: height - 2 * GAP };
  if (sharing.length === 0) return void paintRow(context, people, tiles.people, inner, 'person');
  const stage = { ...inner, width: Math.round(inner.width * STAGE_PART) };
  const strip = { ...inner, x: stage.x + stage.width + GAP, width: inner.width - stage.width - GAP };
  paintRow(context, sharing, tiles.screens, stage, 'screen');
  paintRow(context, people, tiles.people, strip, 'person');
}

/**
 * Where so many tiles stand within a space: as large as they fit, rows in the middle.
 *
 * @param {number} count
 * @param {Box} space
 * @returns {Box[]}
 */
export function placeTiles(count, space) {
  if (count === 0) return [];
  const { columns, width, height } = fitTiles(count, space.width, space.height, GAP);
  const rows = Math.ceil(count / columns);
  const top = space.y + (space.height - rows * height - (rows - 1) * GAP) / 2;
  return Array.from({ length: count }, (_, place) => {
    const row = Math.floor(place / columns);
    const inRow = Math.min(columns, count - row * columns);
    const left = space.x + (space.width - inRow * width - (inRow - 1) * GAP) / 2;
    return { x: left + (place % columns) * (width + GAP), y: top + row * (height + GAP), width, height };
  });
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Person[]} people
 * @param {Map<string, Tile>} tiles
 * @param {Box} space
 * @param {'person' | 'screen'} kind
 */
function paintRow(context, people, tiles, space, kind) {
  const [only, ...more] = people;
  // A single shared screen has its own shape, so that no bars stand beside it.
  const shape = kind === 'screen' && only && more.length === 0 ? tiles.get(only.id)?.shape : 0;
  const boxes = shape ? [contain(shape, space)] : placeTiles(people.length, space);
  people.forEach((person, place) => {
    const box = boxes[place];
    if (box) paintTile(context, person, tiles.get(person.id), box, kind);
  });
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Person} person
 * @param {Tile | undefined} tile not there yet for somebody who has just come
 * @param {Box} box
 * @param {'person' | 'screen'} kind
 */
function paintTile(context, person, tile, box, kind) {
  const outline = new Path2D();
  outline.roundRect(box.x, box.y, box.width, box.height, RADIUS);
  context.save();
  context.clip(outline);
  context.fillStyle = kind === 'screen' ? SCREEN : TILE;
  context.fillRect(box.x, box.y, box.width, box.height);
  const away = !person.me && (person.condition === 'reconnecting' || person.condition === 'failed');
  if (away) context.filter = 'grayscale(80%) brightness(55%)';
  const picture = pictureOf(tile);
  if (picture) paintPicture(context, picture, box, kind);
  else if (kind === 'person') paintAvatar(context, person, tile, box);
  context.filter = 'none';
  paintLabel(context, person, box, kind);
  if (!person.me && person.condition !== 'fine' && kind === 'person') paintVeil(context, conditionWords(person.condition), box);
  context.restore();
  if (kind === 'person' && tile?.root.hasAttribute('data-speaking') && !away) {
    context.lineWidth = 4;
    context.strokeStyle = SPEAKING;
    context.stroke(outline);
  }
}

/**
 * @param {Tile | undefined} tile
 * @returns {HTMLVideoElement | HTMLCanvasElement | null} what the tile shows
 */
function pictureOf(tile) {
  if (!tile?.root.hasAttribute('data-picture')) return null;
  if (!tile.still.hidden) return tile.still;
  return seen(tile.video) ? tile.video : null;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLVideoElement | HTMLCanvasElement} picture
 * @param {Box} box
 * @param {'person' | 'screen'} kind
 */
function paintPicture(context, picture, box, kind) {
  const [width, height] = picture instanceof HTMLVideoElement ? [picture.videoWidth, picture.videoHeight] : [picture.width, picture.height];
  if (kind === 'screen') {
    const whole = contain(width / height, box);
    return context.drawImage(picture, whole.x, whole.y, whole.width, whole.height);
  }
  const part = cover(width, height, box);
  context.drawImage(picture, part.x, part.y, part.width, part.height, box.x, box.y, box.width, box.height);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Person} person
 * @param {Tile | undefined} tile
 * @param {Box} box
 */
function paintAvatar(context, person, tile, box) {
  const radius = Math.min(box.width, box.height, 360) * 0.2;
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = tile ? getComputedStyle(tile.avatar).backgroundColor : '#0b7a4b';
  context.fill();
  context.fillStyle = '#ffffff';
  context.font = `600 ${Math.round(radius * 0.75)}px ${FONT}`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(initialsOf(person.name), x, y + radius * 0.04);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Person} person
 * @param {Box} box
 * @param {'person' | 'screen'} kind
 */
function paintLabel(context, person, box, kind) {
  const size = box.width < 260 ? 15 : 19;
  const text = kind === 'screen' ? `${person.name} (screen)` : person.name;
  const muted = kind === 'person' && !person.audioOn;
  const iconSize = muted ? size * 1.1 : 0;
  context.font = `500 ${size}px ${FONT}`;
  context.textAlign = 'start';
  context.textBaseline = 'middle';
  const most = box.width - 40 - iconSize;
  const width = Math.min(most, context.measureText(text).width);
  const chip = { x: box.x + 8, y: box.y + box.height - size * 1.7 - 8, width: width + iconSize + (muted ? 26 : 20), height: size * 1.7 };
  context.save();
  context.beginPath();
  context.roundRect(chip.x, chip.y, chip.width, chip.height, 7);
  context.fillStyle = CHIP;
  context.fill();
  context.clip();
  if (muted) paintMicOff(context, chip.x + 8, chip.y + (chip.height - iconSize) / 2, iconSize);
  context.fillStyle = '#ffffff';
  context.fillText(text, chip.x + 10 + (muted ? iconSize + 4 : 0), chip.y + chip.height / 2 + 1, most);
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
function paintMicOff(context, x, y, size) {
  context.save();
  context.translate(x, y);
  context.scale(size / 24, size / 24);
  context.lineWidth = 2;
  context.lineCap = 'round';
  context.lineJoin = 'round';
  context.strokeStyle = '#ffb4ac';
  context.stroke(MIC_OFF);
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {Box} box
 */
function paintVeil(context, text, box) {
  context.font = `500 18px ${FONT}`;
  const width = Math.min(box.width - 16, context.measureText(text).width + 32);
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  context.beginPath();
  context.roundRect(x - width / 2, y - 20, width, 40, 10);
  context.fillStyle = CHIP;
  context.fill();
  context.fillStyle = '#ffffff';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(text, x, y + 1, width - 16);
}
