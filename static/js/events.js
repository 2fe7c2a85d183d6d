/**
 * An `EventTarget` whose events have known names and typed details.
 * @module
 */

/**
 * @template {{ [name: string]: any }} Events name of each event → its `detail`
 */
export class TypedEventTarget extends EventTarget {
  /**
   * As `EventTarget.addEventListener`, with the type of `event.detail` known.
   * @template {keyof Events & string} K
   * @param {K} type
   * @param {((event: CustomEvent<Events[K]>) => void) | EventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @override
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, /** @type {EventListener | null} */ (listener), options);
  }

  /**
   * Tells every listener, now. A listener that throws is reported by the browser and stops nobody else.
   * @template {keyof Events & string} K
   * @param {K} type
   * @param {Events[K]} detail
   * @protected
   */
  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
