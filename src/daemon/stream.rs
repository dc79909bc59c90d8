//! The daemon's end of a client's socket.
//!
//! zbus has one for Unix streams, but asks NSS for the groups of every client that connects. Nothing here needs them, and
//! the question can take as long as a directory server does that is not there.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::fdo::ConnectionCredentials;

/// The longest message taken from a client, in bytes: all bounds of the interface together stay below it.
const MAX_MESSAGE: usize = 4 << 20;

/// A client that takes nothing for so long has lost interest; its answers would pile up here.
const STALLED: Duration = Duration::from_secs(30);

/// The most descriptors taken with one read: what the kernel passes at once (`SCM_MAX_FD`).
const MAX_DESCRIPTORS: usize = 253;

/// Reads from a client.
#[derive(Debug)]
pub(super) struct Reader {
    stream: Arc<UnixStream>,
    /// User of the peer, as the kernel has it.
    uid: u32,
}

/// Writes to a client.
#[derive(Debug)]
pub(super) struct Writer(Arc<UnixStream>);

/// A client's socket.
#[derive(Debug)]
pub(super) struct Stream {
    stream: UnixStream,
    uid: u32,
}

impl Stream {
    /// `stream`, whose peer runs as `uid`.
    ///
    /// # Errors
    /// When the stream cannot be made non-blocking or registered with the runtime.
    pub(super) fn new(stream: StdStream, uid: u32) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)?, uid })
    }
}

impl Socket for Stream {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let stream = Arc::new(self.stream);
        Split::new(Reader { stream: Arc::clone(&stream), uid: self.uid }, Writer(stream))
    }
}

#[async_trait::async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        // While a message arrives, zbus reads into the rest of it: the length of that is what the peer announced.
        if buffer.len() > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer announced too long a message"));
        }
        self.stream.async_io(Interest::READABLE, || receive(self.stream.as_fd(), buffer)).await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        Ok(ConnectionCredentials::default().set_unix_user_id(self.uid))
    }
}

#[async_trait::async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let sending = self.0.async_io(Interest::WRITABLE, || send(self.0.as_fd(), buffer, descriptors));
        timeout(STALLED, sending).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn close(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.0.as_fd(), rustix::net::Shutdown::Both)?)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    Ok((received.bytes, descriptors))
}

fn send(socket: BorrowedFd<'_>, buffer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, &[IoSlice::new(buffer)], &mut control, flags)?)
}
