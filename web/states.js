// What may follow what. The tables are where they are used: session.js and live.js.

/** An event that the state of a machine does not allow: a mistake of the caller's. */
export class IllegalTransition extends Error {
  constructor(state, event) {
    super(`“${event}” cannot happen while “${state}”`);
  }
}

/**
 * One state, and the only ways from it: `table` is {state: {event: the state that follows}}, and its
 * first state is where it begins. An event that the table does not have throws.
 */
export class StateMachine {
  #table; #state;

  constructor(table) {
    this.#table = table;
    this.#state = Object.keys(table)[0];
  }

  get state() {
    return this.#state;
  }

  isIn(...states) {
    return states.includes(this.#state);
  }

  /** Whether `event` is allowed now. */
  can(event) {
    return Object.hasOwn(this.#table[this.#state], event);
  }

  move(event) {
    if (!this.can(event)) throw new IllegalTransition(this.#state, event);
    this.#state = this.#table[this.#state][event];
  }
}
