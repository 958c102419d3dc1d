import assert from "node:assert/strict";
import test from "node:test";

import { EventStreamParser } from "../../web/uploads.js";

const STREAM = 'event: segment\r\ndata: {"id": 0}\r\n\r\n: keepalive\r\n\r\nevent: done\r\ndata: {"text": "a\\nb"}\r\n\r\n';
const EVENTS = [{ event: "segment", data: { id: 0 } }, { event: "done", data: { text: "a\nb" } }];

function parse(...pieces) {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

test("events come out whole, wherever the stream is cut", () => {
  for (let cut = 0; cut <= STREAM.length; cut++) {
    assert.deepEqual(parse(STREAM.slice(0, cut), STREAM.slice(cut)), EVENTS, `cut at ${cut}`);
  }
  assert.deepEqual(parse(...STREAM), EVENTS);
});

for (const [name, end] of [["LF", "\n"], ["CRLF", "\r\n"]]) {
  test(`lines may end with ${name}`, () => {
    assert.deepEqual(parse(STREAM.replaceAll("\r\n", end)), EVENTS);
  });
}

test("lines may end with CR, and the event comes with what follows it", () => {
  assert.deepEqual(parse(STREAM.replaceAll("\r\n", "\r"), ": more"), EVENTS);
});

test("an event without a name is a message, and the name before it is not taken over", () => {
  assert.deepEqual(parse("event: segment\n\ndata: 1\n\n"), [{ event: "message", data: 1 }]);
});

test("data of several lines is joined, and fields that are not known are skipped", () => {
  assert.deepEqual(parse("id: 7\nretry: 10\ndata: [1,\ndata: 2]\nodd\n\n"), [{ event: "message", data: [1, 2] }]);
});

test("one space after the colon is not the value's", () => {
  assert.deepEqual(parse('data:"a"\n\ndata: " b"\n\n').map(({ data }) => data), ["a", " b"]);
});

test("an event that was broken off is none", () => {
  assert.deepEqual(parse('event: done\ndata: {"text": "a"}\n'), []);
});
