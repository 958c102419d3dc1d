// The picture of the sound.

import { FRAME_SECONDS } from "./sound.js";

/** A bar per frame, newest at the right; bars within speech in the accent colour. */
export class Waveform {
  static BAR = 3; static STEP = 4; // pixels
  #levels = []; #speech = []; #end = 0; #isQueued = false;

  constructor(canvas) {
    this.canvas = canvas;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#queue());
  }

  /** A frame of `level` that ended at `end` seconds. */
  push(level, end) {
    this.#levels.push(level);
    this.#end = end;
    const room = Math.ceil(this.canvas.width / Waveform.STEP) + 1;
    if (this.#levels.length > room) this.#levels.splice(0, this.#levels.length - room);
    this.#queue();
  }

  speech(isSpeech, at) {
    const last = this.#speech.at(-1);
    if (isSpeech) this.#speech.push({ start: at, end: Infinity });
    else if (last) last.end = at;
    this.#speech = this.#speech.slice(-100); // far more than the picture shows
    this.#queue();
  }

  #queue() {
    if (this.#isQueued) return;
    this.#isQueued = true;
    requestAnimationFrame(() => { this.#isQueued = false; this.#draw(); });
  }

  #resize() {
    this.canvas.width = this.canvas.clientWidth * devicePixelRatio;
    this.canvas.height = this.canvas.clientHeight * devicePixelRatio;
    this.#queue();
  }

  #draw() {
    const pen = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const [speech, silence, nothing] = ["--accent", "--control", "--line"].map((name) => style.getPropertyValue(name));
    const { width, height } = this.canvas;
    const scale = devicePixelRatio;
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = nothing;
    for (let x = width - (this.#levels.length + 1) * Waveform.STEP * scale; x > 0; x -= Waveform.STEP * scale) {
      pen.fillRect(x, height / 2 - scale, Waveform.BAR * scale, 2 * scale);
    }
    this.#levels.forEach((level, i) => {
      const age = this.#levels.length - i;
      const at = this.#end - (age - 0.5) * FRAME_SECONDS;
      const tall = Math.max(2 * scale, level * height * 0.9);
      pen.fillStyle = this.#speech.some(({ start, end }) => start <= at && at < end) ? speech : silence;
      pen.fillRect(width - age * Waveform.STEP * scale, (height - tall) / 2, Waveform.BAR * scale, tall);
    });
  }
}
