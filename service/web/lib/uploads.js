// Uploads of data sets; those of large files are sent in parts, and resumed when the same file is chosen again.

import { get, send, sendBytes } from "./api.js";

const UPLOADS = "/v1/datasets/uploads";
const SMALL_BYTES = 1024 ** 2; // never sent in parts
const TRIES = 4; // of a part
const PAUSE_MILLISECONDS = 1000;

/** Upload a file as a data set; `onProgress` gets the fraction sent. */
export async function uploadDataset(file, onProgress) {
  const onBytes = (sent) => onProgress(sent / file.size);
  if (file.size > SMALL_BYTES && file.size > (await get("/v1/usage")).bounds.upload_part_bytes) return uploadInParts(file, onBytes);
  return sendBytes("POST", `/v1/datasets?${new URLSearchParams({ name: file.name })}`, file, onBytes);
}

async function uploadInParts(file, onBytes) {
  const item = `bestepoch.upload:${file.name}:${file.size}:${file.lastModified}`;
  const upload = await begunUpload(item) ?? await send("POST", UPLOADS, { name: file.name, size_bytes: file.size });
  localStorage.setItem(item, upload.id);
  const path = `${UPLOADS}/${upload.id}`;
  for (const { number, size_bytes: size, received } of upload.parts) {
    const start = (number - 1) * upload.part_bytes;
    if (!received) await sendPart(`${path}/parts/${number}`, file.slice(start, start + size), (sent) => onBytes(start + sent));
    onBytes(start + size);
  }
  try {
    const dataset = await send("POST", `${path}/complete`);
    localStorage.removeItem(item);
    return dataset;
  } catch (error) {
    if (error.status === 422 || error.status === 413) await send("DELETE", path).catch(() => {}); // it counts against the quota
    throw error;
  }
}

/** The upload of this file that an earlier page has begun; null if there is none. */
async function begunUpload(item) {
  const id = localStorage.getItem(item);
  if (id === null) return null;
  try {
    return await get(`${UPLOADS}/${id}`);
  } catch (error) {
    if (error.status !== 404) throw error;
    localStorage.removeItem(item); // expired or deleted
    return null;
  }
}

async function sendPart(path, part, onBytes) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await sendBytes("PUT", path, part, onBytes);
    } catch (error) {
      if (attempt === TRIES || error.retryable === false) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS * 2 ** attempt));
    }
  }
}
