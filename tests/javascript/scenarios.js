// What a program does with Replicate's client; prints what it got as JSON.
//
//     node scenarios.js NAME BASE_URL CLIP

const { File } = require("node:buffer");
const fs = require("node:fs");
const Replicate = require("replicate");

const MODEL = "sam/video";
const [, , scenario, baseUrl, clip] = process.argv;
const replicate = new Replicate({ auth: "any", baseUrl });
const input = { click_coordinates: "[11,19]", output_format: "png" };

const scenarios = {
  // A buffer, which the client uploads; the outputs are read as blobs.
  async file() {
    const output = await replicate.run(MODEL, {
      input: { ...input, input_video: fs.readFileSync(clip), output_rle: true },
    });
    return Promise.all(output.map(contentOf));
  },

  // The URL of a file that was uploaded before, and the progress meanwhile.
  async url() {
    const file = await replicate.files.create(new File([fs.readFileSync(clip)], "my clip.mp4"));
    const progress = [];
    const output = await replicate.run(
      `${MODEL}:1`,
      { input: { ...input, input_video: file.urls.get }, wait: { mode: "poll", interval: 50 } },
      (prediction) => progress.push(Replicate.parseProgressFromLogs(prediction)),
    );
    return { files: await Promise.all(output.map(contentOf)), progress: progress.at(-1) };
  },

  // A click outside the picture.
  async mistake() {
    return messageOf(
      replicate.run(MODEL, {
        input: { ...input, input_video: fs.readFileSync(clip), click_coordinates: "[200,10]" },
      }),
    );
  },

  // A choice that there is not.
  async refusal() {
    return messageOf(
      replicate.run(MODEL, {
        input: { ...input, input_video: fs.readFileSync(clip), mask_type: "green" },
      }),
    );
  },

  // Aborted as soon as the logs tell that a part of the video is done.
  async abort() {
    const controller = new AbortController();
    let id;
    let progress;
    await replicate.run(
      MODEL,
      {
        input: { ...input, input_video: fs.readFileSync(clip) },
        wait: { mode: "poll", interval: 50 },
        signal: controller.signal,
      },
      (prediction) => {
        id = prediction.id;
        progress = Replicate.parseProgressFromLogs(prediction) ?? progress;
        if (progress?.current > 0) controller.abort();
      },
    );
    return { id, progress };
  },
};

async function contentOf(file) {
  return Buffer.from(await (await file.blob()).arrayBuffer()).toString("base64");
}

async function messageOf(run) {
  try {
    await run;
  } catch (error) {
    return { message: error.message, status: error.response?.status };
  }
  throw new Error("it did not fail");
}

scenarios[scenario]().then((result) => console.log(JSON.stringify(result)));
