// A live stream over its sockets: what is sent when, and how it goes on after a break.

import { Problem } from "./problem.js";
import { StateMachine } from "./states.js";

/** Broken connections are tried again after 0.5, 1, 2, 4, 8, 8… s: about five minutes in all, in which a
    service loads even a large model. */
const RECONNECT_ATTEMPTS = 40;
const reconnectDelay = (attempt) => Math.min(8, 0.5 * 2 ** (attempt - 1)) * 1000;
/** Audio that waited for a connection is sent this much faster than it was spoken: the service closes
    streams that bring more than it can hold. */
const CATCH_UP_RATE = 4;
const CATCH_UP_BURST = 5; // seconds at once
const MAX_AHEAD = 30; // seconds sent that no text came for; with more, no faster than it was spoken
const MAX_BUFFERED_BYTES = 1 << 20; // in the browser; beyond it the network is the brake
const PUMP_MS = 100;
const KEEPALIVE_MS = 20_000; // a third of the service's default idle limit
const STUCK_MS = 15_000; // nothing has left for the network in this time: it is gone, though nobody said so
const STOP_PATIENCE = 120; // seconds without any message; one window may take the service that long

/** Errors after which the same stream can go on, here or at another replica. */
const PASSING_ERRORS = new Set(["restarting", "overloaded", "unavailable", "idle_timeout", "rate_limited", "stream_too_fast"]);

const SOCKET_OPEN = 1; // WebSocket.OPEN

/**
 * How a stream stands. Once it was ready, a lost connection is tried again; once it is to stop, what waits is
 * sent, then `stop`, and `done` is waited for.
 */
const STREAM = {
  "new": { start: "connecting" },
  "connecting": { ready: "live", stop: "connecting to stop", end: "ended" },
  "live": { lost: "reconnecting", stop: "draining", end: "ended" },
  "reconnecting": { ready: "live", lost: "reconnecting", stop: "reconnecting to stop", end: "ended" },
  "connecting to stop": { ready: "draining", end: "ended" },
  "draining": { drained: "waiting for done", lost: "reconnecting to stop", end: "ended" },
  "waiting for done": { lost: "reconnecting to stop", end: "ended" },
  "reconnecting to stop": { ready: "draining", lost: "reconnecting to stop", end: "ended" },
  "ended": {},
};

/** How fast audio may leave: seconds that time earns and audio spends. `now` is in milliseconds. */
export class Pace {
  #allowance = CATCH_UP_BURST; #at;

  constructor(now) {
    this.#at = now;
  }

  get isSpent() {
    return this.#allowance <= 0;
  }

  /** `isAhead`: the service has much that no text came for. */
  earn(now, isAhead) {
    const earned = (now - this.#at) / 1000 * (isAhead ? 1 : CATCH_UP_RATE);
    this.#allowance = Math.min(CATCH_UP_BURST, this.#allowance + earned);
    this.#at = now;
  }

  spend(seconds) {
    this.#allowance -= seconds;
  }
}

/**
 * One live stream over /stream: sends what `history` holds from `startAt` (samples) on and tells
 * `handlers` what comes back, on the history's clock. It outlives its sockets: after a break it
 * resumes with the last token, or begins anew behind the last final where the token is not taken.
 *
 * handlers: state(name, values) with connecting, live, reconnecting or stopping, speech(isSpeech, at),
 * partial(message), final(message), warning(message), ended(problem or null).
 */
export class StreamSession {
  #openSocket; #config; #history; #handlers; #now;
  #states = new StateMachine(STREAM); #socket = null; #token = null;
  #origin; #cursor; #settled; // samples: where the server's clock starts, next to send, end of the last final
  #told = 0; // samples: up to where text has come on this socket
  #finalizeAt = null; // samples: what was captured when all so far was to become final
  #attempt = 0; #error = null; #heardAt = 0; #sentAt = 0;
  #unsent = 0; #leftAt = 0; // bytes that waited in the browser, and when some of them last left it
  #pace = null; #timer = null; #retry = null;

  /** `openSocket` resolves to a WebSocket, or throws a Problem that says why there is none. */
  constructor({ openSocket, config, history, startAt, handlers, now = () => performance.now() }) {
    this.#openSocket = openSocket;
    this.#config = config;
    this.#history = history;
    this.#handlers = handlers;
    this.#now = now;
    this.#origin = this.#cursor = this.#settled = startAt;
  }

  get state() {
    return this.#states.state;
  }

  get #isConnected() {
    return this.#states.isIn("live", "draining", "waiting for done");
  }

  get #isStopping() {
    return this.#states.isIn("connecting to stop", "draining", "waiting for done", "reconnecting to stop");
  }

  start() {
    this.#states.move("start");
    this.#timer = setInterval(() => this.#tick(), PUMP_MS);
    this.#handlers.state("connecting");
    this.#connect();
  }

  /** Call after each frame that `history` got. */
  pump() {
    if (!this.#isConnected || this.#socket.readyState !== SOCKET_OPEN) return;
    this.#pace.earn(this.#now(), this.#cursor - this.#told > MAX_AHEAD * this.#history.rate);
    while (this.#cursor < this.#history.end && !this.#pace.isSpent
           && this.#socket.bufferedAmount < MAX_BUFFERED_BYTES) {
      const samples = this.#history.read(this.#cursor);
      this.#send(samples);
      this.#cursor += samples.length;
      this.#pace.spend(samples.length / this.#history.rate);
      if (this.#finalizeAt !== null && this.#cursor >= this.#finalizeAt) this.#sendFinalize();
    }
    if (this.state === "draining" && this.#cursor >= this.#history.end) this.#sendStop();
  }

  /** Makes all that was captured up to now final, also what still waits to be sent. */
  finalize() {
    this.#finalizeAt = this.#history.end;
    if (this.#isConnected && this.#cursor >= this.#finalizeAt) this.#sendFinalize();
  }

  /** Sends the rest and waits for `done`; `ended` follows. */
  stop() {
    this.#states.move("stop");
    this.#heardAt = this.#now();
    this.#handlers.state("stopping");
    this.pump();
  }

  /** Leaves at once, and tells no more: the text so far is what there is. */
  abandon() {
    this.#states.move("end");
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    if (this.#socket) this.#dropSocket();
  }

  async #connect() {
    this.#error = null;
    const socket = await this.#openSocket().catch((problem) => this.#refused(problem));
    if (this.state === "ended") socket?.close(); // stopped while the token was on its way
    if (this.state === "ended" || !socket) return;
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify(this.#token ? { resume: this.#token } : this.#config));
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = () => this.#closed();
  }

  #receive(message) {
    this.#heardAt = this.#now();
    const handle = {
      ready: () => this.#ready(message),
      speech_started: () => this.#handlers.speech(true, message.at + this.#base),
      speech_ended: () => this.#handlers.speech(false, message.at + this.#base),
      partial: () => this.#partial(message),
      final: () => this.#final(message),
      warning: () => this.#handlers.warning(message),
      error: () => { this.#error = Problem.fromService(message); }, // the close that follows says when
      done: () => this.#end(null),
    }[message.type];
    handle?.(); // a newer service may say more than this page knows
  }

  #ready({ offset, resume }) {
    this.#states.move("ready");
    this.#token = resume ?? null;
    this.#cursor = this.#origin + Math.round(offset * this.#history.rate);
    this.#told = this.#cursor;
    this.#leftAt = this.#now();
    this.#pace = new Pace(this.#leftAt);
    this.#handlers.state(this.#isStopping ? "stopping" : "live");
    this.pump();
  }

  #partial(message) {
    this.#told = this.#origin + Math.round(message.end * this.#history.rate);
    this.#handlers.partial(this.#shifted(message));
  }

  #final(message) {
    this.#attempt = 0; // it works again: the next break gets all its attempts
    this.#token = message.resume ?? this.#token;
    this.#settled = this.#told = this.#origin + Math.round(message.end * this.#history.rate);
    this.#handlers.final(this.#shifted(message));
  }

  /** There is not even a socket: the network's fault may pass, a key's does not. */
  #refused(problem) {
    if (this.state === "ended") return;
    if (problem.code !== "service_unreachable") this.#error = problem;
    this.#closed();
  }

  #closed() {
    const error = this.#error;
    if (!this.#states.can("lost")) return this.#end(error ?? new Problem("stream_refused")); // it never was ready
    if (error?.code === "invalid_resume_token") return this.#beginAnew();
    const canPass = !error || PASSING_ERRORS.has(error.code);
    if (canPass && this.#attempt < RECONNECT_ATTEMPTS) return this.#tryAgain();
    this.#end(error ?? new Problem("connection_lost"));
  }

  #tryAgain() {
    this.#states.move("lost");
    this.#attempt += 1;
    this.#handlers.state("reconnecting", { attempt: this.#attempt, attempts: RECONNECT_ATTEMPTS });
    this.#retry = setTimeout(() => this.#connect(), reconnectDelay(this.#attempt));
  }

  /** The service that signed the token is gone: a new stream, from where the last final ends. */
  #beginAnew() {
    this.#states.move("lost");
    this.#token = null;
    this.#origin = this.#settled;
    this.#connect();
  }

  #tick() {
    this.pump();
    const now = this.#now();
    if (this.#isConnected && this.#isStuck(now)) return this.#leave();
    if (this.#isConnected && now - this.#sentAt > KEEPALIVE_MS) this.#send(JSON.stringify({ type: "keepalive" }));
    if (this.#isStopping && now - this.#heardAt > STOP_PATIENCE * 1000) {
      this.#end(new Problem("no_answer", { values: { seconds: STOP_PATIENCE } }));
    }
  }

  #isStuck(now) {
    const { bufferedAmount } = this.#socket;
    if (!bufferedAmount || bufferedAmount < this.#unsent) this.#leftAt = now;
    this.#unsent = bufferedAmount;
    return now - this.#leftAt > STUCK_MS;
  }

  /** Closing takes two sides, and the other one does not answer. */
  #leave() {
    this.#dropSocket();
    this.#closed();
  }

  #sendFinalize() {
    this.#finalizeAt = null;
    this.#send(JSON.stringify({ type: "finalize" }));
  }

  #sendStop() {
    this.#states.move("drained");
    this.#send(JSON.stringify({ type: "stop" }));
  }

  #send(data) {
    this.#sentAt = this.#now();
    this.#socket.send(data);
  }

  #end(problem) {
    this.abandon();
    this.#handlers.ended(problem);
  }

  #dropSocket() {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }

  /** Seconds between the history's clock and the server's. */
  get #base() {
    return this.#origin / this.#history.rate;
  }

  #shifted(message) {
    const base = this.#base;
    const words = message.words?.map((word) => ({ ...word, start: word.start + base, end: word.end + base }));
    return { ...message, start: message.start + base, end: message.end + base, ...(words && { words }) };
  }
}
