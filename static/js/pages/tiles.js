// All tiles, in a grid; or, while a screen is shared, the screens large and the people in a strip beside them.

import { Tile } from './tile.js';
import { fitTiles } from './layout.js';

/** @typedef {import('./people.js').Person} Person */

const GAP = 8;

/** Keeps one tile for each person and each shared screen, and sizes them to the window. */
export class Tiles {
  /**
   * @param {HTMLElement} floor holds both lists and decides by its attribute how they share the space
   * @param {HTMLElement} stage the list of shared screens
   * @param {HTMLElement} grid the list of people
   * @param {HTMLElement} alone what stands beside the own picture while nobody else is here
   */
  constructor(floor, stage, grid, alone) {
    this.floor = floor;
    this.stage = stage;
    this.grid = grid;
    this.alone = alone;
    /** @type {Map<string, Tile>} */
    this.people = new Map();
    /** @type {Map<string, Tile>} */
    this.screens = new Map();
    this.watcher = new ResizeObserver(() => this.#size());
    this.watcher.observe(stage);
    this.watcher.observe(grid);
  }

  /**
   * Brings all tiles up to date.
   *
   * @param {Person[]} list in the order to be shown
   */
  sync(list) {
    const sharing = list.filter((person) => person.screenOn && person.screen !== null);
    syncTiles(this.grid, this.people, list, (id) => new Tile(id, 'person'));
    syncTiles(this.stage, this.screens, sharing, (id) => new Tile(id, 'screen', () => this.#size()));
    this.stage.hidden = sharing.length === 0;
    this.alone.hidden = list.length > 1 || sharing.length > 0;
    this.floor.dataset.layout = sharing.length > 0 ? 'stage' : 'grid';
    this.floor.dataset.people = String(list.length);
    this.#size();
  }

  /**
   * Marks who speaks now.
   *
   * @param {ReadonlySet<string>} speaking
   */
  setSpeaking(speaking) {
    for (const [id, tile] of this.people) tile.setSpeaking(speaking.has(id));
  }

  /** Takes all tiles away. */
  clear() {
    for (const tile of [...this.people.values(), ...this.screens.values()]) tile.remove();
    this.people.clear();
    this.screens.clear();
    this.watcher.disconnect();
  }

  #size() {
    sizeTiles(this.grid);
    // A single shared screen has its own shape, so that no bars stand beside it.
    const [only, ...more] = this.screens.values();
    const shape = only && more.length === 0 ? only.shape : 0;
    sizeTiles(this.stage, shape > 0 ? { narrowest: shape, widest: shape } : undefined);
  }
}

/**
 * @param {HTMLElement} list
 * @param {Map<string, Tile>} tiles
 * @param {Person[]} people
 * @param {(id: string) => Tile} make
 */
function syncTiles(list, tiles, people, make) {
  const here = new Set(people.map(({ id }) => id));
  for (const [id, tile] of tiles) {
    if (here.has(id)) continue;
    tile.remove();
    tiles.delete(id);
  }
  people.forEach((person, place) => {
    let tile = tiles.get(person.id);
    if (!tile) {
      tile = make(person.id);
      tiles.set(person.id, tile);
    }
    // Moving an element restarts its video, so only what stands in the wrong place is moved.
    if (list.children[place] !== tile.root) list.insertBefore(tile.root, list.children[place] ?? null);
    tile.update(person);
  });
}

/**
 * @param {HTMLElement} list
 * @param {import('./layout.js').Shapes} [shapes]
 */
function sizeTiles(list, shapes) {
  const shown = [...list.children].filter((child) => child instanceof HTMLElement && !child.hidden).length;
  if (shown === 0 || list.hidden) return;
  const style = getComputedStyle(list);
  // Not clientWidth: it is rounded, and half a pixel too much breaks a row in two.
  const space = list.getBoundingClientRect();
  const width = space.width - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const height = space.height - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  const fit = fitTiles(shown, width, height, GAP, shapes);
  list.style.setProperty('--tile-width', `${fit.width}px`);
  list.style.setProperty('--tile-height', `${fit.height}px`);
  list.dataset.size = fit.width < 220 ? 'small' : 'large';
}
