// The arithmetic and the strokes of a picture made of several: a screen with the camera in a corner, or a
// card where there is only sound.

/** @typedef {'top-left' | 'top-right' | 'bottom-left' | 'bottom-right'} Corner */
/** @typedef {{ x: number, y: number, width: number, height: number }} Box */

/** @type {readonly Corner[]} */
export const CORNERS = ['top-left', 'top-right', 'bottom-left', 'bottom-right'];

const INSET_WIDTH = 0.24;
const INSET_MARGIN = 0.02;
const INSET_SHAPE = 4 / 3;
const GROUND = '#0b100d';
const MICROPHONE = 'M9 6a3 3 0 0 1 6 0v5a3 3 0 0 1-6 0zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3';

/**
 * The largest box of a shape within a space, in its middle.
 *
 * @param {number} shape width by height
 * @param {Box} space
 * @returns {Box}
 */
export function contain(shape, space) {
  const width = Math.min(space.width, space.height * shape);
  const height = width / shape;
  return { x: space.x + (space.width - width) / 2, y: space.y + (space.height - height) / 2, width, height };
}

/**
 * The part of a picture that fills a box of another shape.
 *
 * @param {number} width of the picture
 * @param {number} height of the picture
 * @param {Box} box
 * @returns {Box} in the picture's own pixels
 */
export function cover(width, height, box) {
  return contain(box.width / box.height, { x: 0, y: 0, width, height });
}

/**
 * Where the camera stands on a screen.
 *
 * @param {Corner} corner
 * @param {number} width of the whole picture
 * @param {number} height of the whole picture
 * @returns {Box}
 */
export function insetBox(corner, width, height) {
  const margin = INSET_MARGIN * width;
  const box = { width: INSET_WIDTH * width, height: (INSET_WIDTH * width) / INSET_SHAPE };
  return {
    ...box,
    x: corner.endsWith('left') ? margin : width - margin - box.width,
    y: corner.startsWith('top') ? margin : height - margin - box.height,
  };
}

/**
 * Draws what is recorded now.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {{ screen: HTMLVideoElement | null, camera: HTMLVideoElement | null, corner: Corner }} parts
 */
export function drawScene(context, { screen, camera, corner }) {
  const { width, height } = context.canvas;
  const whole = { x: 0, y: 0, width, height };
  context.fillStyle = GROUND;
  context.fillRect(0, 0, width, height);
  if (seen(screen)) drawWhole(context, screen, whole);
  if (seen(camera) && screen) drawInset(context, camera, insetBox(corner, width, height));
  else if (seen(camera)) drawWhole(context, camera, whole);
  if (!screen && !camera) drawSoundCard(context);
}

/**
 * @param {HTMLVideoElement | null} video
 * @returns {video is HTMLVideoElement} whether it has a picture
 */
export function seen(video) {
  return video !== null && video.videoWidth > 0 && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLVideoElement} video
 * @param {Box} space
 */
function drawWhole(context, video, space) {
  const box = contain(video.videoWidth / video.videoHeight, space);
  context.drawImage(video, box.x, box.y, box.width, box.height);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLVideoElement} video
 * @param {Box} box
 */
function drawInset(context, video, box) {
  const part = cover(video.videoWidth, video.videoHeight, box);
  context.save();
  context.beginPath();
  context.roundRect(box.x, box.y, box.width, box.height, box.width * 0.06);
  context.save();
  context.clip();
  context.drawImage(video, part.x, part.y, part.width, part.height, box.x, box.y, box.width, box.height);
  context.restore();
  context.lineWidth = Math.max(2, box.width * 0.012);
  context.strokeStyle = 'rgb(255 255 255 / 85%)';
  context.stroke();
  context.restore();
}

/** @param {CanvasRenderingContext2D} context */
function drawSoundCard(context) {
  const { width, height } = context.canvas;
  const scale = height / 140;
  context.save();
  context.translate(width / 2 - 12 * scale, height / 2 - 12 * scale);
  context.scale(scale, scale);
  context.lineWidth = 1.6;
  context.lineCap = 'round';
  context.lineJoin = 'round';
  context.strokeStyle = '#6bdca5';
  context.stroke(new Path2D(MICROPHONE));
  context.restore();
}
