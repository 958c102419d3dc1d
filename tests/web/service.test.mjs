import assert from "node:assert/strict";
import test from "node:test";

import { Service, pageAddress, typedAddress } from "../../web/service.js";

const at = (href) => pageAddress(new URL(href), "http://remembered/");

test("a page that was served finds its service beside it, behind a prefix too", () => {
  assert.equal(at("http://localhost:8000/"), "http://localhost:8000/");
  assert.equal(at("https://example.org/whisper/"), "https://example.org/whisper/");
  assert.equal(at("https://example.org/a/b/?x=1#y"), "https://example.org/a/b/");
});

test("a page from disk asks where it was told last, or on this machine", () => {
  assert.equal(at("file:///home/me/whisper_client.html"), "http://remembered/");
  assert.equal(pageAddress(new URL("file:///a.html"), undefined), "http://localhost:8000/");
});

test("paths keep the prefix, and a stream its security", () => {
  const service = new Service("https://example.org/whisper/");
  assert.equal(service.url("transcribe"), "https://example.org/whisper/transcribe");
  assert.equal(service.streamUrl, "wss://example.org/whisper/stream");
  assert.equal(new Service("http://localhost:8000/").streamUrl, "ws://localhost:8000/stream");
});

test("an address is understood as people type it", () => {
  assert.equal(typedAddress("example.org:9000"), "http://example.org:9000/");
  assert.equal(typedAddress("https://example.org/whisper"), "https://example.org/whisper/");
  assert.equal(typedAddress("https://example.org/whisper/"), "https://example.org/whisper/");
  assert.equal(typedAddress(""), "http://localhost:8000/");
  assert.equal(typedAddress("http://"), null);
  assert.equal(typedAddress("not an address"), null);
});

test("the key is sent in a header, and belongs to one address", () => {
  const service = new Service("http://a.example/");
  assert.deepEqual(service.headers, {});
  service.key.value = "secret";
  assert.deepEqual(service.headers, { Authorization: "Bearer secret" });
  assert.deepEqual(new Service("http://b.example/").headers, {});
});
