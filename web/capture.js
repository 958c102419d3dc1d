// Sources of sound, and their way into frames.

import { Problem } from "./problem.js";
import { FRAME_SECONDS, Framer } from "./sound.js";

/** The service takes no higher rate; speech has nothing above it, and the browser resamples. */
const MAX_SAMPLE_RATE = 48_000;
const FLUSH_PATIENCE_MS = 1000; // ten frames

/** The same on the audio thread. On "flush" it posts the unfinished frame, then null. */
const FRAMER = `
  ${Framer}
  registerProcessor("framer", class extends AudioWorkletProcessor {
    constructor({ processorOptions }) {
      super();
      this.framer = new Framer(processorOptions.samples, (data) => this.port.postMessage(data));
      this.port.onmessage = () => { this.framer.flush(); this.port.postMessage(null); };
    }
    process([channels]) {
      this.framer.push(channels);
      return true;
    }
  });
`;

/** A page from disk has no origin, and may load no blob of its own as a module; served, the
    Content-Security-Policy allows a blob and forbids data. */
function framerUrl() {
  if (location.protocol === "file:") return `data:text/javascript,${encodeURIComponent(FRAMER)}`;
  return URL.createObjectURL(new Blob([FRAMER], { type: "text/javascript" }));
}

/** A source of sound, open: `connect` joins it to a context, `release` gives it back. */
export const Sources = {
  async microphone(deviceId) {
    if (!navigator.mediaDevices) throw new Problem(isSecureContext ? "unsupported_browser" : "insecure_page");
    const audio = {
      // Whisper was trained on sound as it is; a browser's clean-up takes words' ends away.
      echoCancellation: false, noiseSuppression: false, autoGainControl: true,
      ...(deviceId && { deviceId: { exact: deviceId } }),
    };
    return Sources.fromTracks(await navigator.mediaDevices.getUserMedia({ audio }).catch(refusedMicrophone));
  },

  async screen() {
    if (!navigator.mediaDevices?.getDisplayMedia) throw new Problem(isSecureContext ? "screen_unsupported" : "insecure_page");
    const stream = await navigator.mediaDevices.getDisplayMedia({ audio: true, video: true })
      .catch(() => { throw new Problem("screen_denied"); });
    if (stream.getAudioTracks().length) return Sources.fromTracks(stream);
    stream.getTracks().forEach((track) => track.stop());
    throw new Problem("screen_silent");
  },

  fromTracks(stream) {
    const tracks = stream.getTracks();
    return {
      connect(context, framer, ended) {
        context.createMediaStreamSource(stream).connect(framer);
        tracks[0].addEventListener("ended", ended); // unplugged, or sharing ended in the browser
      },
      begin: () => {},
      // A muted track makes the browser's recording sign say so.
      pause: (paused) => tracks.forEach((track) => { track.enabled = !paused; }),
      release: () => tracks.forEach((track) => track.stop()),
    };
  },

  /** A file as it would sound, also through the loudspeaker. */
  async file(blob) {
    const player = new Audio(URL.createObjectURL(blob));
    const release = () => { player.pause(); URL.revokeObjectURL(player.src); };
    await new Promise((resolve, reject) => {
      player.oncanplaythrough = resolve;
      player.onerror = () => { release(); reject(new Problem("unplayable")); };
    });
    return {
      connect(context, framer, ended) {
        const node = context.createMediaElementSource(player);
        node.connect(framer);
        node.connect(context.destination);
        player.addEventListener("ended", ended);
      },
      begin: () => player.play(),
      pause: (paused) => (paused ? player.pause() : player.play()),
      release,
    };
  },
};

function refusedMicrophone(error) {
  const codes = {
    NotAllowedError: "microphone_denied", SecurityError: "microphone_denied",
    NotFoundError: "microphone_missing", OverconstrainedError: "microphone_missing",
    NotReadableError: "microphone_busy", AbortError: "microphone_busy",
  };
  throw new Problem(codes[error.name] ?? "microphone_busy");
}

/** A framer's node on the audio thread: `post` gets its frames, "clipped", and null after a `flush`. */
async function framerNode(context, samples, post) {
  const url = framerUrl();
  await context.audioWorklet.addModule(url);
  URL.revokeObjectURL(url);
  const node = new AudioWorkletNode(context, "framer", { numberOfOutputs: 0, processorOptions: { samples } });
  node.port.onmessage = ({ data }) => post(data);
  return { node, flush: () => node.port.postMessage("flush") };
}

/** The same on the page's own thread: a page on plain http gets no worklet, but may play files. */
function insecureFramerNode(context, samples, post) {
  const framer = new Framer(samples, post);
  const node = context.createScriptProcessor(4096, 2, 1); // at 48 kHz 85 ms at once
  node.onaudioprocess = ({ inputBuffer: sound }) =>
    framer.push(Array.from({ length: sound.numberOfChannels }, (_, channel) => sound.getChannelData(channel)));
  node.connect(context.destination); // without it nothing is processed; its own sound is silence
  return { node, flush: () => { framer.flush(); post(null); } };
}

/** A source's sound as frames: Int16Array, mono, at the context's own rate. */
export class AudioCapture {
  #context; #source; #framer; #onFlushed = () => {};

  static async open(source, { onFrame, onClipped, onEnded }) {
    if (isSecureContext && !globalThis.AudioWorkletNode) {
      source.release();
      throw new Problem("unsupported_browser");
    }
    let context = new AudioContext();
    if (context.sampleRate > MAX_SAMPLE_RATE) {
      await context.close();
      context = new AudioContext({ sampleRate: MAX_SAMPLE_RATE });
    }
    try {
      const capture = new AudioCapture(context, source);
      await capture.#connect(onFrame, onClipped, onEnded);
      return capture;
    } catch (error) {
      source.release();
      await context.close();
      throw error;
    }
  }

  constructor(context, source) {
    this.#context = context;
    this.#source = source;
  }

  async #connect(onFrame, onClipped, onEnded) {
    const make = this.#context.audioWorklet ? framerNode : insecureFramerNode;
    const samples = Math.round(this.#context.sampleRate * FRAME_SECONDS);
    this.#framer = await make(this.#context, samples, (data) => {
      if (data === "clipped") onClipped();
      else if (data) onFrame(data);
      else this.#onFlushed();
    });
    this.#source.connect(this.#context, this.#framer.node, onEnded);
  }

  get sampleRate() {
    return this.#context.sampleRate;
  }

  async begin() {
    await this.#context.resume();
    await this.#source.begin();
  }

  async pause(paused) {
    if (paused) {
      this.#source.pause(true);
      await this.#flush();
      await this.#context.suspend();
    } else {
      await this.#context.resume();
      await this.#source.pause(false);
    }
  }

  /** Hands over the last, unfinished frame before it lets go: no end of a word is lost. */
  async close() {
    this.#source.pause(true);
    await this.#flush();
    this.#source.release();
    await this.#context.close();
  }

  /** Resolves when the audio thread has given what it held; at once when it sleeps and holds nothing. */
  #flush() {
    if (this.#context.state !== "running") return Promise.resolve();
    return new Promise((resolve) => {
      this.#onFlushed = resolve;
      this.#framer.flush();
      setTimeout(resolve, FLUSH_PATIENCE_MS); // a device that is gone may have stopped its thread
    });
  }
}

/** Plays stretches of the history, one at a time. */
export class Replay {
  #context = null; #node = null;

  play(history, from, to) {
    const floats = history.slice(from, to);
    this.#node?.stop();
    this.#node = null;
    if (!floats.length) return;
    this.#context ??= new AudioContext();
    const buffer = this.#context.createBuffer(1, floats.length, history.rate);
    buffer.copyToChannel(floats, 0);
    this.#node = new AudioBufferSourceNode(this.#context, { buffer });
    this.#node.connect(this.#context.destination);
    this.#node.start();
  }
}
