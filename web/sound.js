// Sound as numbers: frames, their loudness, and the last minutes of them. Knows no browser.

/** Frames of 100 ms: the service's cost is per frame, and a tenth of a second is not felt. */
export const FRAME_SECONDS = 0.1;

/**
 * Mixes what comes to mono s16le and posts it in frames; posts "clipped" once where 10 ms of it were well
 * beyond full scale, and cut off (a resampler's overshoot is less, and not heard). The browser's own rate is kept; the service resamples. It has to stand for itself:
 * the audio thread gets its source.
 */
export class Framer {
  constructor(samples, post) {
    this.frame = new Int16Array(samples); // every browser's CPU is little-endian
    this.filled = 0;
    this.room = Math.ceil(samples / 10); // of what may be cut off before it is told
    this.post = post;
  }

  push(channels) {
    const count = channels.length ? channels[0].length : 0; // none while nothing is connected
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const mean = sum / channels.length;
      const sample = Math.max(-1, Math.min(1, mean));
      if (Math.abs(mean) > 1.1 && --this.room === 0) this.post("clipped");
      this.frame[this.filled++] = Math.round(sample * 32767);
      if (this.filled === this.frame.length) this.flush();
    }
  }

  /** Posts the unfinished frame. */
  flush() {
    if (this.filled) this.post(this.frame.slice(0, this.filled));
    this.filled = 0;
  }
}

/** Loudness of a frame, 0 to 1 over the 60 dB below full scale. */
export function levelOf(samples) {
  let power = 0;
  for (const sample of samples) power += sample * sample;
  const db = 10 * Math.log10(power / samples.length / 32768 ** 2 + 1e-12);
  return Math.max(0, Math.min(1, 1 + db / 60));
}

/**
 * The last minutes of what was heard, by sample position. A broken connection goes on from it, and a
 * final is heard again from it.
 */
export class AudioHistory {
  static SECONDS = 600; // 58 MB at 48 kHz: more than any outage that is worth waiting for
  #frames = [];

  constructor(rate, start = 0) {
    this.rate = rate;
    this.start = start;
    this.end = start;
  }

  append(samples) {
    this.#frames.push({ start: this.end, samples });
    this.end += samples.length;
    while (this.end - this.start > AudioHistory.SECONDS * this.rate) {
      this.start += this.#frames.shift().samples.length;
    }
  }

  /** What lies from `position` to the end of its frame; silence where it was let go, so that times stay right. */
  read(position) {
    if (position < this.start) {
      return new Int16Array(Math.min(this.start - position, Math.round(this.rate * FRAME_SECONDS)));
    }
    const { start, samples } = this.#frames[this.#find(position)];
    return samples.subarray(position - start);
  }

  /** Seconds [from, to) as float samples, as far as they are still here. */
  slice(from, to) {
    let position = Math.max(this.start, Math.round(from * this.rate));
    const end = Math.min(this.end, Math.round(to * this.rate));
    const floats = new Float32Array(Math.max(0, end - position));
    for (let filled = 0; position < end;) {
      const samples = this.read(position).subarray(0, end - position);
      samples.forEach((sample, i) => { floats[filled + i] = sample / 32768; });
      filled += samples.length;
      position += samples.length;
    }
    return floats;
  }

  #find(position) {
    let [low, high] = [0, this.#frames.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#frames[middle].start <= position) low = middle; else high = middle - 1;
    }
    return low;
  }
}

/** Tells a microphone that is muted, or another one than is spoken into. */
export class QuietWatch {
  static LEVEL = 0.05; // a whisper's
  static SECONDS = 6; // below it, before we ask
  #since; #isTold = false;

  /** `at`: seconds, like those of `hear`. */
  constructor(at) {
    this.#since = at;
  }

  /** A frame of `level` that ended at `end`: "quiet" when it has been so for long, "heard" when no more, or null. */
  hear(level, end) {
    if (level > QuietWatch.LEVEL) {
      const wasTold = this.#isTold;
      this.#since = end;
      this.#isTold = false;
      return wasTold ? "heard" : null;
    }
    if (this.#isTold || end - this.#since <= QuietWatch.SECONDS) return null;
    this.#isTold = true;
    return "quiet";
  }
}
