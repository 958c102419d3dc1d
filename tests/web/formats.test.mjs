import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { FORMATS, clock } from "../../web/formats.js";

const CASES = JSON.parse(readFileSync(new URL("../data/formats.json", import.meta.url), "utf8"));

for (const { name, segments, text, srt, vtt } of CASES) {
  test(`${name}: as the service writes it`, () => {
    assert.equal(FORMATS.txt({ segments }), text);
    assert.equal(FORMATS.srt({ segments }), srt);
    assert.equal(FORMATS.vtt({ segments }), vtt);
  });
}

test("json holds the whole transcript, readable", () => {
  const transcript = { text: "grün", language: "de", duration: 1, segments: [{ id: 0, start: 0, end: 1, text: " grün" }] };
  assert.deepEqual(JSON.parse(FORMATS.json(transcript)), transcript);
  assert.match(FORMATS.json(transcript), /^ {2}"text": "grün",$/m);
});

test("a time on the page has hours only where there are some", () => {
  assert.deepEqual([0, 65.9, 3600, -1].map(clock), ["0:00", "1:05", "1:00:00", "0:00"]);
});
