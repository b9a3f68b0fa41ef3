"""The SFTP server of a simulated guest, based on paramiko's, for ``sftp`` and for ``scp`` since OpenSSH 9."""

from __future__ import annotations

import errno

import paramiko
from paramiko.sftp import SFTP_FAILURE, SFTP_OP_UNSUPPORTED

from stratuslab.local.machines.simulated.file_tree import MAX_NODES, FileTree

MAX_OPEN = 40  # open files and directories per session
LARGEST_PACKET = 256 * 1024  # bytes of a request, as in OpenSSH


class SftpServer(paramiko.SFTPServer):
    """Serves one session until the client disconnects."""

    def __init__(self, channel: paramiko.Channel, server: paramiko.ServerInterface, files: FileTree) -> None:
        super().__init__(channel, "sftp", server, lambda _: files)  # type: ignore[arg-type]
        self._channel, self._files = channel, files
        self._warned = False

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        try:
            super()._process(kind, number, message)  # type: ignore[misc]
        except OSError as error:
            if error.errno == errno.ENOSPC and not self._warned:
                # OpenSSH's clients do not show the message of a failed request, but they show standard error.
                self._warned = True
                holds = f"this simulated machine holds {self._files.capacity >> 20} MB in {MAX_NODES} files"
                text = f"{error.filename}: No space left: {holds}\n"
                self._channel.sendall_stderr(text.encode())
            self._send_status(number, self.convert_errno(error.errno or errno.EIO), error.strerror)  # type: ignore[attr-defined]

    def _read_all(self, size: int) -> bytes:
        if size > LARGEST_PACKET:
            raise EOFError
        return super()._read_all(size)  # type: ignore[misc, no-any-return]

    def _send_handle_response(self, number: int, handle: paramiko.SFTPHandle | int, folder: bool = False) -> None:
        full = len(self.file_table) + len(self.folder_table) >= MAX_OPEN
        super()._send_handle_response(number, SFTP_FAILURE if full else handle, folder)  # type: ignore[misc]

    def _check_file(self, number: int, message: paramiko.Message) -> None:
        # Paramiko's implementation never ends if the file is shorter than the client says.
        self._send_status(number, SFTP_OP_UNSUPPORTED)  # type: ignore[attr-defined]
