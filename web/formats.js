// A transcript as the content of a file. Text, SRT and VTT are those of the service
// (whisper_service/formats.py): tests/data/formats.json holds both to the same.

/** 65.2 -> "1:05"; with hours only where there are some. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = String(s).padStart(2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${padded}` : `${m}:${padded}`;
}

/** 65_250 -> "00:01:05,250", as SubRip (comma) and WebVTT (point) write it. */
function stamp(ms, point) {
  const parts = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  const hms = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return hms + point + String(ms % 1000).padStart(3, "0");
}

/** Whole milliseconds; of two that are as near the even one, which is how Python rounds. */
function milliseconds(seconds) {
  const [ms, up] = [seconds * 1000, Math.round(seconds * 1000)];
  return Math.max(0, up - ms === 0.5 && up % 2 ? up - 1 : up);
}

/** What Python's splitlines() takes for the end of a line. */
const LINE_END = /\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/;

/** Without empty lines: in both subtitle formats an empty line ends the cue. */
const lines = (text) => text.split(LINE_END).map((line) => line.trim()).filter(Boolean).join("\n");
/** SubRip knows no escape, so an arrow, which players take for a time line, is shortened. */
const srtText = (text) => lines(text).replaceAll("-->", "->");
const vttText = (text) => lines(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** Every segment that has text. A cue lasts at least a millisecond: WebVTT forbids empty ones. */
function cues(segments) {
  return segments.filter(({ text }) => text.trim()).map(({ start, end, text }) => {
    const from = milliseconds(start);
    return { from, to: Math.max(milliseconds(end), from + 1), text };
  });
}

export const joinText = (segments) => segments.map((s) => s.text).join("").trim();

/** A transcript {text, language, duration, segments} as the content of a file. */
export const FORMATS = {
  txt: ({ segments }) => joinText(segments) + "\n",
  srt: ({ segments }) => cues(segments).map(({ from, to, text }, i) =>
    `${i + 1}\n${stamp(from, ",")} --> ${stamp(to, ",")}\n${srtText(text)}\n\n`).join(""),
  vtt: ({ segments }) => "WEBVTT\n\n" + cues(segments).map(({ from, to, text }) =>
    `${stamp(from, ".")} --> ${stamp(to, ".")}\n${vttText(text)}\n\n`).join(""),
  json: (transcript) => JSON.stringify(transcript, null, 2) + "\n",
};
export const MEDIA_TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };
