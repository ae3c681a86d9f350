"""The reference client of Python (tuspy) over a line that is cut: arguments are the address, the file, the piece size, whether to send checksums."""

import sys

from tusclient import client

address, path, piece, checked = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "checked"
url = None
tries = 0
while True:
    uploader = None
    try:
        uploader = client.TusClient(address).uploader(
            path, chunk_size=piece, url=url, upload_checksum=checked, metadata={"filename": "python.bin", "purpose": "input"}
        )
        uploader.upload()
        break
    except Exception as error:
        tries += 1
        if tries > 300:
            raise
        print("again:", type(error).__name__, file=sys.stderr)
        url = (uploader.url if uploader is not None else None) or url
print(uploader.url.rsplit("/", 1)[-1], tries)
