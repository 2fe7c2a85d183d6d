import type { Call } from '../index.js';

declare global {
  interface Window {
    /** The call of the room page, for tests and for support. Undefined before the first one. */
    greenroomCall?: Call;
  }
}
