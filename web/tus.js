// Resumable upload by tus 1.0.0 from the browser: one file, pieces of four mebibytes, resumed by the file's name, size and date.

const PIECE = 4 * 1024 * 1024;

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
const keyOf = (file, purpose) => `tus ${purpose} ${file.name} ${file.size} ${file.lastModified}`;

async function refusal(answer) {
  try {
    const problem = await answer.json();
    return problem.detail ?? problem.title;
  } catch {
    return `the daemon answered ${answer.status}`;
  }
}

// `told(sent)` is called with each acknowledged offset; `signal` cuts. Resolves to the identifier of the upload.
export async function upload(file, purpose, headers, told, signal) {
  const tus = { ...headers, "Tus-Resumable": "1.0.0" };
  const key = keyOf(file, purpose);
  let address = localStorage.getItem(key);
  let offset = 0;
  if (address) {
    const head = await fetch(address, { method: "HEAD", headers: tus, signal });
    if (head.ok) offset = Number(head.headers.get("Upload-Offset"));
    else address = null;
  }
  if (!address) {
    const metadata = [`filename ${base64(file.name)}`];
    if (purpose) metadata.push(`purpose ${base64(purpose)}`);
    const made = await fetch("/api/v1/uploads", { method: "POST", headers: { ...tus, "Upload-Length": String(file.size), "Upload-Metadata": metadata.join(",") }, signal });
    if (!made.ok) throw new Error(await refusal(made));
    address = made.headers.get("Location");
    localStorage.setItem(key, address);
  }
  told(offset);
  while (offset < file.size) {
    const piece = file.slice(offset, offset + PIECE);
    const sent = await fetch(address, { method: "PATCH", headers: { ...tus, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" }, body: piece, signal });
    if (!sent.ok) {
      localStorage.removeItem(key);
      throw new Error(await refusal(sent));
    }
    offset = Number(sent.headers.get("Upload-Offset"));
    told(offset);
  }
  localStorage.removeItem(key);
  return address.split("/").pop();
}
