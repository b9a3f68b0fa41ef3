"""The SFTP server of a simulated guest, based on paramiko's, for ``sftp`` and for ``scp`` since OpenSSH 9."""

from __future__ import annotations

import errno
import os
import stat

import paramiko
from paramiko.sftp import SFTP_FAILURE, SFTP_OK, SFTP_OP_UNSUPPORTED

from stratuslab.local.machines.simulated.file_tree import CAPACITY, MAX_NODES, PIECE, FileTree, Node

MAX_OPEN = 100  # open files and directories per session
LARGEST_PACKET = 256 * 1024  # bytes of a request, as in OpenSSH


class SftpServer(paramiko.SFTPServer):
    """Serves one session until the client disconnects."""

    def __init__(self, channel: paramiko.Channel, server: paramiko.ServerInterface, files: FileTree) -> None:
        super().__init__(channel, "sftp", server, _Requests, files)
        self._channel = channel
        self._warned = False

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        try:
            super()._process(kind, number, message)  # type: ignore[misc]
        except OSError as error:
            if error.errno == errno.ENOSPC and not self._warned:
                # OpenSSH's clients do not show the message of a failed request, but they show standard error.
                self._warned = True
                text = f"{error.filename}: No space left: a simulated machine holds {CAPACITY >> 20} MB in {MAX_NODES} files\n"
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


class _OpenFile(paramiko.SFTPHandle):
    def __init__(self, files: FileTree, node: Node, flags: int) -> None:
        super().__init__(flags)
        self._files, self._node, self._appends = files, node, bool(flags & os.O_APPEND)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._node.content[offset : offset + min(length, PIECE)])

    def write(self, offset: int, data: bytes) -> int:  # type: ignore[override]
        self._files.write(self._node, data, None if self._appends else offset)
        return SFTP_OK

    def stat(self) -> paramiko.SFTPAttributes:
        return _attributes(self._node)

    def chattr(self, attr: paramiko.SFTPAttributes) -> int:
        return _change(self._files, self._node, attr)


class _Requests(paramiko.SFTPServerInterface):
    """Requests that are not about an open file. ``SftpServer`` answers an OSError."""

    def __init__(self, server: paramiko.ServerInterface, files: FileTree) -> None:
        super().__init__(server)
        self._files = files

    def canonicalize(self, path: str) -> str:
        return self._files.resolve(path)

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes]:
        return [_attributes(node, name) for name, node in self._files.listing(path).items()]

    def stat(self, path: str) -> paramiko.SFTPAttributes:
        return _attributes(self._files.node(path))

    lstat = stat

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle:
        if flags & os.O_EXCL:
            node = self._files.add(path, stat.S_IFREG | _permissions(attr, 0o644))
        else:
            node = self._files.file(path, bool(flags & os.O_CREAT), _permissions(attr, 0o644))
        if flags & os.O_TRUNC:
            self._files.resize(node, 0)
        return _OpenFile(self._files, node, flags)

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        self._files.add(path, stat.S_IFDIR | _permissions(attr, 0o755))
        return SFTP_OK

    def rmdir(self, path: str) -> int:
        self._files.remove(path, directory=True)
        return SFTP_OK

    def remove(self, path: str) -> int:
        self._files.remove(path)
        return SFTP_OK

    def rename(self, oldpath: str, newpath: str) -> int:
        self._files.rename(oldpath, newpath)
        return SFTP_OK

    def chattr(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return _change(self._files, self._files.node(path), attr)


def _attributes(node: Node, name: str = "") -> paramiko.SFTPAttributes:
    return paramiko.SFTPAttributes.from_stat(node, name)  # type: ignore[arg-type]


def _permissions(attr: paramiko.SFTPAttributes, default: int) -> int:
    return default if attr.st_mode is None else stat.S_IMODE(attr.st_mode)


def _change(files: FileTree, node: Node, attr: paramiko.SFTPAttributes) -> int:
    if attr.st_size is not None:
        files.resize(node, attr.st_size)
    node.st_mode = stat.S_IFMT(node.st_mode) | _permissions(attr, stat.S_IMODE(node.st_mode))
    node.st_mtime = node.st_mtime if attr.st_mtime is None else attr.st_mtime
    return SFTP_OK
