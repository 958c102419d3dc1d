// OpenAI's client for Node: a file at once, then segment by segment as they are decoded.
//
//     npm install openai
//     node examples/openai_node.mjs [FILE] [URL]

import fs from "node:fs";
import OpenAI from "openai";

const [file = "whisper_service/assets/sample.wav", url = "http://localhost:8000"] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any" });

const answer = await client.audio.transcriptions.create({
  model: "whisper-1",
  file: fs.createReadStream(file),
});
console.log(answer.text);

const events = await client.audio.transcriptions.create({
  model: "whisper-1",
  file: fs.createReadStream(file),
  stream: true,
});
for await (const event of events) {
  if (event.type === "transcript.text.delta") console.log(event.delta.trim());
}
