import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { COMMON_OPTIONS, DEFAULTS, STREAM_OPTIONS, UPLOAD_OPTIONS, streamFields, uploadFields, within } from "../../web/settings.js";

const SERVICE = JSON.parse(readFileSync(new URL("../data/settings.json", import.meta.url), "utf8"));

/** An option as tests/data/settings.json writes one. */
const limits = ({ value, min, max }) => ({
  default: value === "" ? null : value, ...(min !== undefined && { minimum: min }), ...(max !== undefined && { maximum: max }),
});

for (const [where, options] of [["stream", STREAM_OPTIONS], ["file", UPLOAD_OPTIONS]]) {
  test(`settings of a ${where} have the service's defaults and limits`, () => {
    const page = Object.fromEntries([...COMMON_OPTIONS, ...options].map((option) => [option.name, limits(option)]));
    for (const [name, { maximum, ...rest }] of Object.entries(SERVICE[where])) {
      // Where the service has no limit, a field has one all the same.
      assert.deepEqual(page[name], { ...rest, ...(page[name].maximum && { maximum: maximum ?? page[name].maximum }) }, name);
    }
    assert.deepEqual(Object.keys(page).sort(), Object.keys(SERVICE[where]).sort());
  });
}

test("a file is sent with its own settings, and what is empty is left to the service", () => {
  assert.deepEqual(uploadFields(DEFAULTS), { task: "transcribe", word_timestamps: false, vad_filter: true });
  const chosen = { ...DEFAULTS, model_size: "tiny", language: "de", prompt: "Ray", audio_track: 0, vad_filter: false };
  assert.deepEqual(uploadFields(chosen), {
    model_size: "tiny", language: "de", prompt: "Ray", task: "transcribe", word_timestamps: false,
    vad_filter: false, audio_track: 0,
  });
});

test("a stream is configured with its own settings, zero and off included", () => {
  const fields = streamFields({ ...DEFAULTS, partial_interval: 0, vad: false });
  assert.equal(fields.partial_interval, 0);
  assert.equal(fields.vad, false);
  assert.ok(!("vad_filter" in fields) && !("audio_track" in fields) && !("prompt" in fields));
});

test("a number that is out of range is brought back into it, and none is the default", () => {
  const option = { value: 5, min: 0.5, max: 28 };
  assert.deepEqual(["", "0", "99", "2.5"].map((typed) => within(option, typed)), [5, 0.5, 28, 2.5]);
});
