import assert from "node:assert/strict";
import test from "node:test";

import { AudioHistory, Framer, QuietWatch, levelOf } from "../../web/sound.js";

const RATE = 100;

function history(...frames) {
  const kept = new AudioHistory(RATE);
  frames.forEach((frame) => kept.append(Int16Array.from(frame)));
  return kept;
}

test("channels are mixed and cut into frames, and no sample is lost", () => {
  const frames = [];
  const framer = new Framer(2, (frame) => frames.push([...frame]));
  framer.push([[1, -1, 0.5], [1, -1, -0.5]]);
  framer.flush();
  assert.deepEqual(frames, [[32767, -32767], [0]]);
});

test("sound beyond full scale is told once", () => {
  const told = [];
  const framer = new Framer(100, (data) => data === "clipped" && told.push(data));
  for (let i = 0; i < 3; i++) framer.push([new Array(20).fill(1.5)]);
  assert.deepEqual(told, ["clipped"]);
});

test("a level is 1 at full scale and 0 in silence", () => {
  assert.ok(levelOf(new Int16Array(10).fill(32767)) > 0.99);
  assert.equal(levelOf(new Int16Array(10)), 0);
});

test("what was heard is read again from any sample on", () => {
  const kept = history([1, 2, 3], [4, 5]);
  assert.deepEqual([...kept.read(1)], [2, 3]);
  assert.deepEqual([...kept.read(3)], [4, 5]);
  assert.deepEqual([...kept.slice(0.01, 0.04)], [2, 3, 4].map((sample) => sample / 32768));
});

test("sound that was let go is silence, so that times stay right", () => {
  const kept = new AudioHistory(RATE);
  for (let i = 0; i < AudioHistory.SECONDS + 1; i++) kept.append(new Int16Array(RATE).fill(7));
  assert.equal(kept.start, RATE);
  assert.deepEqual([...new Set(kept.read(0))], [0]);
  assert.deepEqual([...new Set(kept.read(RATE))], [7]);
});

test("a microphone that stays quiet is told once, and again when it is heard", () => {
  const watch = new QuietWatch(10);
  const told = [[0.01, 13], [0.01, 16.1], [0.01, 20], [0.5, 20.1], [0.5, 20.2], [0.01, 27]].map((frame) => watch.hear(...frame));
  assert.deepEqual(told, [null, "quiet", null, "heard", null, "quiet"]);
});
