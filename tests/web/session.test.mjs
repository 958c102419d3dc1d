import assert from "node:assert/strict";
import test, { mock } from "node:test";

import { RECORDING } from "../../web/live.js";
import { Problem } from "../../web/problem.js";
import { Pace, StreamSession } from "../../web/session.js";
import { AudioHistory } from "../../web/sound.js";
import { IllegalTransition, StateMachine } from "../../web/states.js";

const RATE = 100;
const FRAME = new Int16Array(RATE / 10);

/** A service's end of a socket. */
class FakeSocket {
  readyState = 1;
  bufferedAmount = 0;
  sent = [];
  isClosed = false;

  send(data) {
    this.sent.push(data);
  }

  close() {
    this.isClosed = true;
  }

  tell(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }

  get audioSeconds() {
    return this.sent.filter((data) => data instanceof Int16Array).reduce((sum, { length }) => sum + length, 0) / RATE;
  }

  get commands() {
    return this.sent.filter((data) => typeof data === "string").map((text) => JSON.parse(text));
  }
}

/** A session, its sockets and what it told, with a clock that only the test moves. */
class Setup {
  sockets = [];
  told = [];
  milliseconds = 0;
  refusal = null;

  constructor() {
    const tell = (kind) => (...values) => this.told.push([kind, ...values]);
    this.history = new AudioHistory(RATE);
    this.session = new StreamSession({
      openSocket: async () => {
        if (this.refusal) throw this.refusal;
        this.sockets.push(new FakeSocket());
        return this.sockets.at(-1);
      },
      config: { sample_rate: RATE }, history: this.history, startAt: 0, now: () => this.milliseconds,
      handlers: Object.fromEntries(["state", "speech", "partial", "final", "warning", "ended"].map((kind) => [kind, tell(kind)])),
    });
  }

  get socket() {
    return this.sockets.at(-1);
  }

  get states() {
    return this.told.filter(([kind]) => kind === "state").map(([, name]) => name);
  }

  get ended() {
    return this.told.filter(([kind]) => kind === "ended").map(([, problem]) => problem?.code ?? null);
  }

  async start() {
    this.session.start();
    await settle();
    return this;
  }

  async startLive() {
    await this.start();
    this.ready();
    return this;
  }

  ready(offset = 0, resume = "token") {
    this.socket.onopen();
    this.socket.tell({ type: "ready", offset, resume });
  }

  speak(seconds) {
    for (let i = 0; i < seconds * 10; i++) this.history.append(FRAME);
    this.session.pump();
  }

  async later(ms) {
    this.milliseconds += ms;
    mock.timers.tick(ms);
    await settle();
  }

  async break() {
    this.socket.onclose();
    await settle();
  }
}

/** Lets what was awaited go on. */
const settle = async () => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

test.beforeEach(() => mock.timers.enable({ apis: ["setInterval", "setTimeout"] }));
test.afterEach(() => mock.timers.reset());

test("a stream is configured, heard, stopped and done, in this order", async () => {
  const setup = await new Setup().startLive();
  setup.speak(1);
  setup.session.stop();
  assert.equal(setup.session.state, "waiting for done");
  setup.socket.tell({ type: "done" });
  assert.deepEqual(setup.socket.commands, [{ sample_rate: RATE }, { type: "stop" }]);
  assert.equal(setup.socket.audioSeconds, 1);
  assert.deepEqual(setup.states, ["connecting", "live", "stopping"]);
  assert.deepEqual(setup.ended, [null]);
  assert.ok(setup.socket.isClosed);
});

test("what was said before the service was ready is sent, also where it was stopped by then", async () => {
  const setup = await new Setup().start();
  setup.speak(1);
  setup.session.stop();
  assert.equal(setup.session.state, "connecting to stop");
  setup.ready();
  assert.equal(setup.socket.audioSeconds, 1);
  assert.equal(setup.session.state, "waiting for done");
});

test("a broken stream goes on with its token, from where the service wants it", async () => {
  const setup = await new Setup().startLive();
  setup.speak(3);
  setup.socket.tell({ type: "final", start: 0, end: 2, text: " a", resume: "second" });
  await setup.break();
  assert.deepEqual(setup.told.at(-1), ["state", "reconnecting", { attempt: 1, attempts: 40 }]);
  setup.speak(1);
  await setup.later(500);
  setup.ready(2);
  assert.deepEqual(setup.socket.commands, [{ resume: "second" }]);
  assert.equal(setup.socket.audioSeconds, 2);
  assert.equal(setup.session.state, "live");
});

test("waits between attempts grow, and a final gives them all back", async () => {
  const setup = await new Setup().startLive();
  const lost = new Problem("service_unreachable");
  setup.refusal = lost;
  await setup.break();
  for (const wait of [500, 1000, 2000, 4000, 8000, 8000]) {
    const before = setup.states.length;
    await setup.later(wait - 100);
    assert.equal(setup.states.length, before);
    await setup.later(100);
    assert.equal(setup.states.length, before + 1);
  }
  setup.refusal = null;
  await setup.later(8000);
  setup.ready();
  setup.socket.tell({ type: "final", start: 0, end: 0, text: "" });
  await setup.break();
  assert.equal(setup.told.at(-1)[2].attempt, 1);
});

test("a token that is not taken begins a stream anew behind the last final, on the same clock", async () => {
  const setup = await new Setup().startLive();
  setup.speak(3);
  setup.socket.tell({ type: "final", start: 0, end: 2, text: " a" });
  await setup.break();
  await setup.later(500);
  setup.socket.tell({ type: "error", code: "invalid_resume_token" });
  await setup.break();
  setup.ready();
  assert.deepEqual(setup.socket.commands, [{ sample_rate: RATE }]);
  assert.equal(setup.socket.audioSeconds, 1);
  setup.socket.tell({ type: "partial", start: 0, end: 1, stable: "", unstable: " b" });
  assert.deepEqual([setup.told.at(-1)[1].start, setup.told.at(-1)[1].end], [2, 3]);
});

test("a stream that broke while it ended is stopped again", async () => {
  const setup = await new Setup().startLive();
  setup.speak(1);
  setup.session.stop();
  await setup.break();
  assert.equal(setup.session.state, "reconnecting to stop");
  await setup.later(500);
  setup.ready(0.5);
  assert.deepEqual(setup.socket.commands, [{ resume: "token" }, { type: "stop" }]);
  assert.equal(setup.socket.audioSeconds, 0.5);
  assert.equal(setup.states.at(-1), "stopping");
});

test("a stream that never was ready is not tried again", async () => {
  const setup = await new Setup().start();
  await setup.break();
  assert.deepEqual(setup.ended, ["stream_refused"]);
  await setup.later(60_000);
  assert.equal(setup.sockets.length, 1);
});

test("an error that does not pass ends a stream with its reason", async () => {
  const setup = await new Setup().startLive();
  setup.socket.tell({ type: "error", code: "audio_too_long", message: "5 h." });
  await setup.break();
  assert.deepEqual(setup.ended, ["audio_too_long"]);
});

test("a stream that cannot come back says so in the end", async () => {
  const setup = await new Setup().startLive();
  setup.refusal = new Problem("service_unreachable");
  await setup.break();
  for (let i = 0; i < 40; i++) await setup.later(8000);
  assert.deepEqual(setup.ended, ["connection_lost"]);
});

test("a key that was refused in between ends a stream at once", async () => {
  const setup = await new Setup().startLive();
  setup.refusal = new Problem("unauthorized");
  await setup.break();
  await setup.later(500);
  assert.deepEqual(setup.ended, ["unauthorized"]);
});

test("a stream that was left is silent, also where its socket comes later", async () => {
  const setup = new Setup();
  setup.session.start();
  setup.session.abandon();
  await settle();
  assert.ok(setup.socket.isClosed);
  assert.deepEqual(setup.ended, []);
  assert.throws(() => setup.session.stop(), IllegalTransition);
});

test("everything said before a finalize is sent before it", async () => {
  const setup = await new Setup().start();
  setup.speak(1);
  setup.session.finalize();
  setup.ready();
  const kinds = setup.socket.sent.map((data) => (typeof data === "string" ? JSON.parse(data).type : "audio"));
  assert.deepEqual(kinds, [undefined, ...Array(10).fill("audio"), "finalize"]);
});

test("audio that waited is sent in a burst, then four times as fast as it was spoken", async () => {
  const setup = await new Setup().start();
  setup.speak(25);
  setup.ready();
  const after = () => Math.round(setup.socket.audioSeconds);
  assert.equal(after(), 5);
  for (let i = 0; i < 20; i++) await setup.later(100);
  assert.equal(after(), 13);
});

test("a service that is far behind gets audio no faster than it was spoken", async () => {
  const setup = await new Setup().start();
  setup.speak(60);
  setup.ready();
  for (let i = 0; i < 100; i++) await setup.later(100);
  const seconds = setup.socket.audioSeconds;
  assert.ok(seconds > 30 && seconds < 40, `${seconds} s`);
  for (let i = 0; i < 20; i++) await setup.later(100);
  assert.ok(Math.abs(setup.socket.audioSeconds - seconds - 2) < 0.3);
  setup.socket.tell({ type: "partial", start: 0, end: setup.socket.audioSeconds, stable: "", unstable: "" });
  for (let i = 0; i < 20; i++) await setup.later(100);
  assert.ok(setup.socket.audioSeconds - seconds > 9);
});

test("a network that takes nothing any more is left for another socket", async () => {
  const setup = await new Setup().startLive();
  setup.socket.bufferedAmount = 1;
  for (let i = 0; i < 16; i++) await setup.later(1000);
  assert.equal(setup.session.state, "reconnecting");
  assert.ok(setup.sockets[0].isClosed);
});

test("a quiet stream is kept alive", async () => {
  const setup = await new Setup().startLive();
  for (let i = 0; i < 21; i++) await setup.later(1000);
  assert.deepEqual(setup.socket.commands.at(-1), { type: "keepalive" });
});

test("an end that nobody confirms is an end all the same", async () => {
  const setup = await new Setup().startLive();
  setup.session.stop();
  for (let i = 0; i < 121; i++) await setup.later(1000);
  assert.deepEqual(setup.ended, ["no_answer"]);
});

test("a pace holds no more than its burst, however long it waited", () => {
  const pace = new Pace(0);
  pace.earn(3_600_000, false);
  pace.spend(4.9);
  assert.ok(!pace.isSpent);
  pace.spend(0.1);
  assert.ok(pace.isSpent);
});

test("what a state does not allow throws", async () => {
  const setup = await new Setup().startLive();
  assert.throws(() => setup.session.start(), IllegalTransition);
  setup.session.stop();
  assert.throws(() => setup.session.stop(), IllegalTransition);
  assert.throws(() => setup.socket.tell({ type: "ready", offset: 0 }), IllegalTransition);
});

test("a recording opens, is heard, paused, stopped, and can be begun again", () => {
  const states = new StateMachine(RECORDING);
  for (const event of ["start", "open", "pause", "resume", "pause", "stop", "end", "start"]) states.move(event);
  assert.equal(states.state, "opening");
});

for (const [way, event] of [[[], "stop"], [["start"], "pause"], [["start"], "start"], [["start", "open"], "resume"],
  [["start", "open", "stop"], "stop"], [["start", "open", "stop"], "pause"], [["start", "end"], "end"]]) {
  test(`a recording refuses “${event}” after: ${way.join(", ") || "nothing"}`, () => {
    const states = new StateMachine(RECORDING);
    way.forEach((step) => states.move(step));
    assert.throws(() => states.move(event), IllegalTransition);
  });
}
