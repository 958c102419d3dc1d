import assert from "node:assert/strict";
import test from "node:test";

import { joinText } from "../../web/formats.js";
import { LiveText, unmarked } from "../../web/live_text.js";

const words = (text) => text.trim().split(/(?<=^[,.])\s*|\s+/).map((word) => ({ word, start: 0, end: 1 }));

function texts(...finals) {
  const live = new LiveText();
  finals.forEach((text, i) => live.add({ start: i, end: i + 1, text, language: "en", words: words(text) }));
  return live;
}

test("a mark that comes late ends the segment before it", () => {
  const live = texts(" my fellow Americans", ", ask not", ".", " And so", "? On");
  assert.deepEqual(live.segments.map(({ text }) => text), [" my fellow Americans,", " ask not.", " And so?", " On"]);
  assert.equal(joinText(live.segments), "my fellow Americans, ask not. And so? On");
  assert.deepEqual(live.segments.map(({ id }) => id), [0, 1, 2, 3]);
});

test("a mark that comes late is no word of what follows it", () => {
  const [, second] = texts(" my fellow Americans", ", ask not").segments;
  assert.deepEqual(second.words.map(({ word }) => word), ["ask", "not"]);
});

test("a mark with nothing before it stays where it is", () => {
  const live = new LiveText();
  assert.equal(live.add({ text: "… so", language: "en" }).mark, "");
  assert.equal(live.segments[0].text, "… so");
});

test("a partial is shown without the mark of the final before it", () => {
  assert.equal(unmarked(", ask not"), "ask not");
  assert.equal(unmarked("。你好"), "你好");
});

test("what is cleared is gone", () => {
  const live = texts(" one");
  live.clear();
  assert.deepEqual([live.segments, live.language], [[], ""]);
});
