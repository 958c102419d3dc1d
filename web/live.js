// The live tab: a source of sound, a session and the view, joined.

import { joinText } from "./formats.js";
import { AudioCapture, Replay, Sources } from "./capture.js";
import { button, byId, element } from "./dom.js";
import { LiveText } from "./live_text.js";
import { LiveView } from "./live_view.js";
import { Problem } from "./problem.js";
import { StreamSession } from "./session.js";
import { AudioHistory, QuietWatch, levelOf } from "./sound.js";
import { StateMachine } from "./states.js";
import { say } from "./text.js";
import { exportButtons } from "./transcript.js";

/** How a recording stands. `end` comes however it ends: done, given up, or by an error. */
export const RECORDING = {
  idle: { start: "opening" },
  opening: { open: "listening", end: "idle" },
  listening: { pause: "paused", stop: "stopping", end: "idle" },
  paused: { resume: "listening", stop: "stopping", end: "idle" },
  stopping: { end: "idle" },
};

/** Records what is said and shows its text. One recording at a time; the next one goes on below. */
export class LiveController {
  static LAG_GONE = 3; // seconds behind that no one minds
  static LAG_SHOWN_MS = 5000; // at least, so that it can be read, and read out

  #service; #settings; #onProblem;
  #states = new StateMachine(RECORDING);
  #view = new LiveView(); #replay = new Replay(); #text = new LiveText();
  #history = null; #capture = null; #session = null; #quiet = null; #wakeLock = null; #lagAt = -Infinity;

  /** `service()` is the one to talk to now; `onProblem` gets what the whole page may have to act on. */
  constructor({ service, settings, onProblem }) {
    this.#service = service;
    this.#settings = settings;
    this.#onProblem = onProblem;
    byId("start").addEventListener("click", () => this.#toggle());
    byId("pause").addEventListener("click", () => this.#pause(this.#states.can("pause")));
    byId("finalize").addEventListener("click", () => this.#session.finalize());
    byId("live-sample").addEventListener("click", () => this.start("sample"));
    byId("live-file").addEventListener("change", ({ target }) => target.files.length && this.start("file", target.files[0]));
    byId("live-export").append(...exportButtons(() => this.#transcript(), () => "live-transcript"),
      button("export.clear", () => this.#clear(), { className: "plain small push" }));
    addEventListener("beforeunload", (event) => this.#isRunning && event.preventDefault());
    document.addEventListener("visibilitychange", () => this.#isRunning && this.#stayAwake());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.listSources());
    this.listSources();
  }

  get #isRunning() {
    return this.#states.state !== "idle";
  }

  /** The microphones have names only once the page may use one. */
  async listSources() {
    const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
    const microphones = devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId && deviceId !== "default");
    const first = element("optgroup", { label: say("source.microphones") }, new Option(say("source.default"), "microphone:"),
      ...microphones.map(({ label, deviceId }, i) =>
        new Option(label || say("source.microphone", { number: i + 1 }), `microphone:${deviceId}`)));
    const other = element("optgroup", { label: say("source.other") },
      ...["screen", "file", "sample"].map((kind) => new Option(say(`source.${kind}`), kind)));
    const chosen = byId("source").value;
    byId("source").replaceChildren(first, other);
    byId("source").value = chosen;
    if (byId("source").selectedIndex < 0) byId("source").selectedIndex = 0; // it was unplugged
  }

  async start(choice, file) {
    if (this.#isRunning) return;
    this.#move("start");
    this.#view.noProblem();
    this.#view.noWarning();
    this.#view.state("opening");
    try {
      await this.#open(choice, file);
    } catch (error) {
      this.#session?.abandon(); // its sound did not begin
      if (this.#isRunning) this.#ended(error); // or the session ended before
    }
  }

  async #open(choice, file) {
    const source = await this.#source(choice, file);
    this.#capture = await AudioCapture.open(source, {
      onFrame: (samples) => this.#heard(samples), onClipped: () => this.#view.clipped(),
      onEnded: () => this.#states.can("stop") && this.#stop(),
    });
    const rate = this.#capture.sampleRate;
    if (this.#history?.rate !== rate) this.#history = new AudioHistory(rate, Math.round(this.#duration * rate));
    this.#quiet = choice.startsWith("microphone") ? new QuietWatch(this.#duration) : null;
    this.#session = new StreamSession({
      openSocket: () => this.#service().openStream(),
      config: { ...this.#settings.stream(), sample_rate: rate, encoding: "pcm_s16le", channels: 1 },
      history: this.#history, startAt: this.#history.end, handlers: this.#handlers(),
    });
    this.#session.start();
    this.#move("open");
    await this.#capture.begin();
    this.#stayAwake();
    this.listSources();
  }

  async #source(choice, file) {
    const [kind, deviceId] = choice.split(":");
    if (kind === "microphone") return Sources.microphone(deviceId);
    if (kind === "screen") return Sources.screen();
    return Sources.file(file ?? await this.#service().sample());
  }

  #handlers() {
    return {
      state: (name, values) => this.#view.state(name === "live" ? this.#heardState : name, values),
      speech: (isSpeech, at) => this.#view.speech(isSpeech, at),
      partial: (message) => { this.#view.partial(message); this.#heardUpTo(message.end); },
      final: (message) => this.#final(message),
      warning: ({ lag }) => this.#behind(lag),
      ended: (problem) => this.#ended(problem),
    };
  }

  #final(message) {
    const known = this.#text.language;
    const { mark, segment } = this.#text.add(message);
    if (mark) this.#view.mark(mark);
    if (segment) this.#view.final(segment, () => this.#replay.play(this.#history, segment.start, segment.end));
    if (message.language !== known) this.#view.language(this.#settings.languageName(message.language));
    this.#heardUpTo(message.end);
  }

  #behind(lag) {
    if (!this.#isLagRead) return;
    this.#lagAt = performance.now();
    this.#view.behind(lag);
  }

  get #isLagRead() {
    return performance.now() - this.#lagAt > LiveController.LAG_SHOWN_MS;
  }

  /** Text has come for the sound up to `end`. */
  #heardUpTo(end) {
    if (this.#states.isIn("listening")) this.#view.lag(this.#duration - end);
    if (this.#isLagRead && this.#duration - end < LiveController.LAG_GONE) this.#view.noWarning();
  }

  #heard(samples) {
    this.#history.append(samples);
    const level = levelOf(samples);
    this.#view.sound(level, this.#duration);
    const quiet = this.#quiet?.hear(level, this.#duration);
    if (quiet === "quiet") this.#view.quiet();
    if (quiet === "heard") this.#view.noWarning();
    this.#session?.pump();
  }

  #toggle() {
    if (this.#states.can("stop")) this.#stop();
    else if (this.#isRunning) this.#leave(); // it waits for the last words
    else if (byId("source").value === "file") byId("live-file").click();
    else this.start(byId("source").value);
  }

  async #pause(isPaused) {
    this.#move(isPaused ? "pause" : "resume");
    const session = this.#session;
    await this.#capture.pause(isPaused);
    if (this.#session !== session || !this.#states.isIn("listening", "paused")) return; // stopped meanwhile
    if (session.state === "live") this.#view.state(this.#heardState);
    if (isPaused) session.finalize(); // what was said before a pause is done
  }

  /** Gives the last sound to the session, then waits for the service's `done`. */
  async #stop() {
    this.#move("stop");
    const [session, capture] = [this.#session, this.#capture];
    this.#capture = null;
    await capture.close();
    if (this.#session === session) session.stop(); // unless it was given up meanwhile, or broke
  }

  #leave() {
    this.#session.abandon();
    this.#ended(null);
  }

  #ended(problem) {
    const capture = this.#capture;
    this.#capture = this.#session = this.#quiet = null;
    capture?.close();
    this.#wakeLock?.release();
    this.#wakeLock = null;
    byId("live-file").value = ""; // so that the same file can be chosen again
    this.#move("end");
    this.#view.state(problem ? "failed" : "done");
    this.#view.noWarning();
    if (problem) this.#explain(Problem.from(problem));
  }

  async #explain(problem) {
    const service = this.#service();
    const isSilent = ["stream_refused", "connection_lost"].includes(problem.code);
    const known = (isSilent && (await service.whyRefused() || await service.whyNoStream())) || problem;
    this.#view.problem(known);
    this.#onProblem(known);
  }

  #move(event) {
    this.#states.move(event);
    this.#view.buttons(this.#states.state);
  }

  /** What is shown while the service listens. */
  get #heardState() {
    return this.#states.isIn("paused") ? "paused" : "live";
  }

  #clear() {
    this.#text.clear();
    if (!this.#isRunning) this.#history = null; // the next recording begins at 0:00
    this.#view.clear();
  }

  async #stayAwake() {
    // Lost whenever the page is hidden; refused on low battery. Recording goes on without it.
    this.#wakeLock = await navigator.wakeLock?.request("screen").catch(() => null) ?? null;
  }

  get #duration() {
    return this.#history ? this.#history.end / this.#history.rate : 0;
  }

  #transcript() {
    const { segments, language } = this.#text;
    return { text: joinText(segments), language, duration: this.#duration, segments };
  }
}
