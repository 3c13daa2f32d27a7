// Calls the recording server with the TypeScript client of openapi-generator, and compares what arrived with what was sent.
//
// Its arguments are the server's URL and the file expected.json. The training's fields are set by hand here and stand in
// expected.json a second time; then every operation is called with the document's own example.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as imgopen from "./typescript";

const [url, expectedFile] = process.argv.slice(2);

const training: imgopen.SubmitTrainingRequest = {
  fileUrlList: Array.from({ length: 10 }, (_, index) => `https://example.com/strangers/${`${index + 1}`.padStart(2, "0")}.png`),
  taskId: "strangers-1",
  maxEpochs: 31,
  batchSize: 3,
  learningRate: "0.00005",
  maxTokenLength: 150,
  clipSkip: 4,
  randomCrop: true,
  pretrainedModel: "photon_v1_84728",
  repeats: 7,
  mixedPrecision: "fp16",
  savePrecision: "float",
  numCpuThreadsPerProcess: 5,
  seed: 4294967297,
  cacheLatents: false,
  cacheLatentsToDisk: true,
  lrScheduler: "cosine",
  lrWarmupSteps: 11,
  optimizerType: "AdamW",
  resolution: 512,
  enableBucket: false,
  minBucketReso: 128,
  maxBucketReso: 1024,
  textEncoderLr: "2e-05",
  unetLr: "3e-05",
  networkDropout: 0.25,
  rankDropout: 0.5,
  moduleDropout: 0.75,
  networkModule: "networks.dylora",
  networkDim: 64,
  networkAlpha: 32,
  networkArgs: "unit=4",
  v2: true,
  flipAug: true,
  colorAug: true,
  gradientAccumulationSteps: 2,
  noiseOffset: 0.125,
  callbackUrl: "https://example.com/strangers/callback",
};

const keys: Record<string, string> = {
  "X-Request-req-accessKeyId": "strangers-id",
  "X-Request-req-accessKeySecret": "strangers-secret",
};
const settings = new imgopen.Configuration({ basePath: url, apiKey: (header) => keys[header] });
const trainings = new imgopen.TrainModelApi(settings);
const queries = new imgopen.TaskQueryApi(settings);

/** What the server reports beside the API. */
async function fetchJson(path: string): Promise<any> {
  return (await fetch(url + path)).json();
}

/** Submits the training and asks for two tasks. */
async function callTyped(): Promise<void> {
  const submitted = await trainings.submitTraining({ submitTrainingRequest: training });
  assert.equal(submitted.code, "200");
  const task = await queries.queryTask({ queryTaskRequest: { businessTaskId: "strangers-2" } });
  assert.equal(task.data.status, 2);
  const tool = { toolCode: "hair/change", queryToolTaskRequest: { businessTaskId: "strangers-3" } };
  assert.ok((await queries.queryToolTask(tool)).data.taskId);
}

/** What the server recorded is what was sent, in the declared order, and nothing is left unset. */
async function compareTyped(schemas: any): Promise<void> {
  const expected = JSON.parse(readFileSync(expectedFile, "utf8"));
  assert.equal(JSON.stringify(await fetchJson("/recorded"), null, 1), JSON.stringify(expected, null, 1));
  const unset = Object.keys(schemas.SubmitTrainingRequest.properties).filter((name) => !(name in expected[0].request));
  assert.deepEqual(unset, [], "the document has new fields; set them in client.py, client.ts and expected.json");
}

/** Sends the example `full` of an operation, through the generated types, and compares. */
async function callWithExample(id: string, operation: any, schemas: any): Promise<void> {
  const camel = id.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  const pascal = camel[0].toUpperCase() + camel.slice(1);
  const sent = operation.requestBody.content["application/json"].examples.full.value;
  const apis: any[] = [new imgopen.AIImageGenerationApi(settings), queries, trainings, new imgopen.ImageToolApi(settings)];
  const request = (imgopen as any)[`${pascal}RequestFromJSON`](sent);
  const parameters = { [`${camel}Request`]: request, toolCode: "roop" };
  const answer = await apis.find((api) => camel in api)[camel](parameters);
  assert.equal(answer.code, "200", id);
  const [record] = await fetchJson("/recorded");
  assert.equal(record.operation, id);
  const isOpen = schemas[`${pascal}Request`].additionalProperties !== false;
  assert.deepEqual(isOpen ? shared(record.request, sent) : record.request, sent, id);
}

/** The members of a value that the other one has too: for open types the generated client also sends its own names. */
function shared(value: any, other: any): any {
  if (Array.isArray(value) && Array.isArray(other)) return value.map((item, index) => shared(item, other[index]));
  if (value === null || typeof value !== "object" || typeof other !== "object") return value;
  const members = Object.entries(value).filter(([name]) => name in other);
  return Object.fromEntries(members.map(([name, member]) => [name, shared(member, other[name])]));
}

async function main(): Promise<void> {
  const { paths, components } = await fetchJson("/openapi.json");
  await fetchJson("/recorded");
  await callTyped();
  await compareTyped(components.schemas);
  const operations: any[] = Object.values(paths).map((item: any) => item.post);
  for (const operation of operations) await callWithExample(operation.operationId, operation, components.schemas);
  console.log(`TypeScript client: the server recorded exactly what was sent, for ${operations.length} operations too`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
