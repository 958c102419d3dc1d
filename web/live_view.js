// What the live tab shows.

import { say } from "./text.js";
import { clock } from "./formats.js";
import { unmarked } from "./live_text.js";
import { byId, showNotice, showProblem } from "./dom.js";
import { FollowingScroll, RowList, segmentRow } from "./transcript.js";
import { Waveform } from "./waveform.js";

/** What the live tab shows. It decides nothing; LiveController does. */
export class LiveView {
  #finals = new RowList(byId("live-finals")); #partial = byId("live-partial"); #lag = byId("live-warning");

  constructor() {
    this.waveform = new Waveform(byId("waveform"));
    this.scroll = new FollowingScroll(byId("live-scroll"), (follows) => { byId("latest").hidden = follows; });
    byId("latest").addEventListener("click", () => this.scroll.toEnd());
    this.state("idle");
    this.buttons("idle");
    byId("live-insecure").textContent = say("live.insecure", { origin: location.origin });
    byId("live-insecure").hidden = isSecureContext || Boolean(navigator.mediaDevices);
  }

  state(name, values) {
    byId("live-state").textContent = say(`state.${name}`, values);
    byId("live-dot").dataset.state = name;
    byId("live-speech").hidden = byId("live-lag").hidden = true;
  }

  speech(isSpeech, at) {
    byId("live-speech").hidden = !isSpeech;
    this.waveform.speech(isSpeech, at);
  }

  /** As they are in a state of LiveController's. */
  buttons(state) {
    const isRunning = state !== "idle";
    const start = byId("start");
    start.querySelector("span").textContent = say(state === "stopping" ? "live.leave" : isRunning ? "live.stop" : "live.start");
    start.classList.toggle("recording", isRunning);
    start.disabled = state === "opening"; // the browser is asking for the microphone
    byId("pause").textContent = say(state === "paused" ? "live.resume" : "live.pause");
    byId("pause").disabled = byId("finalize").disabled = !["listening", "paused"].includes(state);
    byId("source").disabled = byId("live-sample").disabled = isRunning;
  }

  sound(level, seconds) {
    const percent = Math.round(level * 100);
    byId("level").ariaValueNow = percent;
    byId("level").style.setProperty("--level", level);
    byId("live-clock").textContent = clock(seconds);
    this.waveform.push(level, seconds);
  }

  partial({ start, stable, unstable }) {
    byId("live-empty").hidden = true;
    const [at, text] = this.#partial.children;
    at.textContent = clock(start);
    text.children[0].textContent = unmarked(stable);
    text.children[1].textContent = stable ? unstable : unmarked(unstable);
    this.#partial.hidden = !(stable + unstable).trim();
    this.scroll.grown();
  }

  final(segment, onReplay) {
    byId("live-empty").hidden = true;
    byId("live-export").hidden = false;
    this.#partial.hidden = true;
    this.#finals.append(segmentRow(segment, "live.replay", onReplay));
    this.scroll.grown();
  }

  /** Punctuation of the last final's last word, which only what followed decided. */
  mark(mark) {
    this.#finals.last.lastElementChild.append(mark);
  }

  language(name) {
    byId("live-language").textContent = name;
  }

  /** How far the text is behind the sound, as of the latest text. */
  lag(seconds) {
    byId("live-lag").textContent = say("live.lag", { seconds: Math.max(0, seconds).toFixed(1) });
    byId("live-lag").hidden = false;
  }

  behind(seconds) {
    showNotice(this.#lag, say("live.lag.title", { lag: Math.round(seconds) }), say("live.lag.body"));
  }

  quiet() {
    showNotice(this.#lag, say("live.quiet.title"), say("live.quiet.body"));
  }

  clipped() {
    showNotice(byId("live-clipped"), say("live.clipped.title"), say("live.clipped.body"));
  }

  noWarning() {
    this.#lag.hidden = true;
  }

  problem(error) {
    showProblem(byId("live-error"), error);
  }

  noProblem() {
    byId("live-error").hidden = byId("live-clipped").hidden = true;
  }

  clear() {
    this.#finals.clear();
    this.#partial.hidden = true;
    byId("live-empty").hidden = false;
    byId("live-export").hidden = true;
    byId("live-clock").textContent = "";
    this.language("");
    this.noWarning();
    this.scroll.toEnd();
  }
}
