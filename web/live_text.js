// What a live stream's finals come to: segments, each with its own marks.

/** The mark after a final's last word comes with the next final, whose text decides it. */
const LEADING_MARK = /^([.,;:!?…。，、；：！？–—-]*)(.*)$/su;

/** A partial's text without the mark of the final before it. */
export const unmarked = (text) => LEADING_MARK.exec(text)[2].trimStart();

/** The finals of one stream or several, as a transcript. */
export class LiveText {
  #segments = []; #language = "";

  get segments() {
    return this.#segments;
  }

  get language() {
    return this.#language;
  }

  /** Takes a final; {mark, segment}: what the segment before it ends with, and the new one, or null. */
  add({ start, end, text: told, words, language, avg_logprob, no_speech_prob }) {
    this.#language = language;
    const last = this.#segments.at(-1);
    const [, mark, text] = LEADING_MARK.exec(told);
    const moved = last ? mark : ""; // where there is nothing before it, it stays
    if (last) last.text += moved;
    if (!text) return { mark: moved, segment: null };
    const isWord = moved && words?.[0]?.word.trim() === moved;
    const segment = {
      id: this.#segments.length, start, end, text: last ? text : told, avg_logprob, no_speech_prob,
      ...(words && { words: isWord ? words.slice(1) : words }),
    };
    this.#segments.push(segment);
    return { mark: moved, segment };
  }

  clear() {
    this.#segments = [];
    this.#language = "";
  }
}
