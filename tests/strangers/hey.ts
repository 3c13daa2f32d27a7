// Calls the recording server with the TypeScript client of hey-api: every operation of every document, with each of the
// document's examples. That no body is untyped is checked while it is compiled.
//
// Its argument is the server's URL.

import assert from "node:assert/strict";
import * as extras from "./hey/imgopen-extras";
import { client as extrasClient } from "./hey/imgopen-extras/client.gen";
import * as vendor from "./hey/imgopen";
import { client as vendorClient } from "./hey/imgopen/client.gen";

const [url] = process.argv.slice(2);
const headers = {
  "X-Request-req-accessKeyId": "strangers-id",
  "X-Request-req-accessKeySecret": "strangers-secret",
};

/** The operations whose request or answer has no type. */
type Untyped<Sdk> = {
  [Name in keyof Sdk]: Sdk[Name] extends (options: infer Options) => Promise<infer Answer>
    ? Options extends { body: infer Body }
      ? Answer extends { data?: infer Data }
        ? unknown extends Body | Data
          ? Name
          : never
        : Name
      : Name
    : Name;
}[keyof Sdk];

const everyVendorBodyHasAType: [Untyped<typeof vendor>] extends [never] ? true : Untyped<typeof vendor> = true;
const everyExtraBodyHasAType: [Untyped<typeof extras>] extends [never] ? true : Untyped<typeof extras> = true;

// Members beside a choice are typed too.
const placed: vendor.WatermarkImageRequest = {
  businessTaskId: "1",
  sourceImage: "https://example.com/a.png",
  // @ts-expect-error a number is asked for
  opacity: "half",
};
const controlled: vendor.ControlnetRequest["controlnet"] = { args: [{ weight: 1 }] };
// @ts-expect-error `prompt` is required
const incomplete: vendor.ControlnetRequest = { batch_size: 1, resize_mode: 1, controlnet: controlled };

async function fetchJson(path: string): Promise<any> {
  return (await fetch(url + path)).json();
}

/** Sends each example of an operation and compares what arrived. */
async function callWithExamples(sdk: any, operation: any): Promise<number> {
  const id: string = operation.operationId;
  const call = sdk[id.replace(/_(.)/g, (_, letter) => letter.toUpperCase())];
  const examples: any[] = Object.values(operation.requestBody.content["application/json"].examples);
  const sent = examples.filter((example) => !("x-quirk" in example)).map((example) => example.value);
  for (const body of sent) {
    const { data, error } = await call({ body, headers, path: { toolCode: "hair/change" } });
    assert.equal(error, undefined, id);
    assert.equal(data.code, "200", id);
    const [record] = await fetchJson("/recorded");
    assert.equal(record.operation, id);
    assert.deepEqual(record.request, body, id);
  }
  return sent.length;
}

async function main(): Promise<void> {
  assert.ok(everyVendorBodyHasAType && everyExtraBodyHasAType && placed && incomplete);
  await fetchJson("/recorded");
  let calls = 0;
  for (const [sdk, client, path] of [
    [vendor, vendorClient, "/openapi.json"],
    [extras, extrasClient, "/extras/openapi.json"],
  ] as const) {
    client.setConfig({ baseUrl: url });
    const { paths } = await fetchJson(path);
    for (const item of Object.values<any>(paths)) calls += await callWithExamples(sdk, item.post);
  }
  console.log(`hey-api: the server recorded exactly what was sent, in ${calls} calls`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
