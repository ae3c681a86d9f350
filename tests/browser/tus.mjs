// The reference client of JavaScript (tus-js-client) over a line that is cut. Arguments: the address, the file, the piece size.

import { readFileSync } from "node:fs";
import { Upload } from "tus-js-client";

const [endpoint, path, piece] = process.argv.slice(2);
let tries = 0;
const upload = new Upload(readFileSync(path), {
  endpoint,
  chunkSize: Number(piece),
  retryDelays: Array(300).fill(1),
  metadata: { filename: "javascript.bin", purpose: "input" },
  onShouldRetry: () => {
    tries += 1;
    return true;
  },
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess: () => {
    console.log(upload.url.split("/").pop(), tries);
  },
});
upload.start();
